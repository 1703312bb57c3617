"""The dialects keep to their documents' shapes, whatever they are sent."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import jsonschema
import pytest
from django.http import HttpResponse
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.acceptance.dialects import NO_IDS, NO_OBJECTS, key
from tests.api_routes import Route, dialect_routes
from tests.contract.dialect_shapes import BROUGHT, DIALECTS, Dialect
from webhooks_app.models import Endpoint, Scope, Secret, Tenant

pytestmark = pytest.mark.django_db(transaction=True)

ROUTES = dialect_routes()
REFUSALS = {400, 401, 403, 404, 405, 409, 413, 415}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PROPFIND")
THEIR_HOST = "theirs-7f3a.example.com"
#: How a key is sent: by name, the headers, `{}` standing for it. Only the first two may do anything.
KEYS: dict[str, dict[str, str]] = {
    "good": {},
    "reader": {},
    "none": {},
    "empty": {"Authorization": "", "X-API-Key": ""},
    "unknown": {"Authorization": "Bearer wk_unknown"},
    "unknown too": {"X-API-Key": "wk_unknown"},
    "another scheme": {"Authorization": "Basic eDp5"},
    "the good one as another scheme's": {"Authorization": "Digest {}"},
    "not quite": {"X-API-Key": "{}x"},
    "odd": {"Authorization": "Bearer \x00\xe9 \xff"},
    "long": {"X-API-Key": "w" * 10_000},
    "many words": {"Authorization": "Bearer a b c"},
}


@dataclass(frozen=True)
class Asked:
    """One request. `whose` says which id is put into the path (and into a body that has one): ours, theirs, or `text`."""

    method: str
    route: Route
    whose: str
    text: str
    tail: str
    key: str
    body: Any
    written: str
    headers: dict[str, str]


# --- what is asked ----------------------------------------------------------------------------------------------------

odd_texts = st.sampled_from(
    ["", " ", "\x00", "\ud800", "é\u2028", "😀", "x" * 5000, "*", "a.*", "message.sent", "wh_", "None", "https://10.0.0.1/",
     "http://your-server.com/", "https://u:p@h/", "https://[::1]/", "https://a.example:0/", "https://\ud800/", "javascript:1",
     "https://xn--/", "https://a.example/\n", "+256701520000", "+1,+2", "9" * 40, "ftp://example.com/", "//example.com"]
)  # fmt: skip
texts = st.one_of(odd_texts, st.text(st.characters(), max_size=12))
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.sampled_from([10**400, -1, 0]), st.floats(), texts)
values = st.recursive(
    scalars,
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(texts, inside, max_size=4),
    max_leaves=6,
)
FIELDS = ("url", "events", "secret", "from", "numberIds", "active", "id", "to", "message", "callbackUrl", "wire_format")
LEFT_OUT = object()


def bodies(new: dict[str, Any]) -> st.SearchStrategy[Any]:
    """The documented one, that one changed a little, any JSON; bytes, with their type, stand for themselves. An empty `id` is
    filled in."""
    names = st.sampled_from(sorted({*new, *FIELDS}))
    changes = st.dictionaries(names, st.one_of(values, st.lists(texts, max_size=60), st.just(LEFT_OUT)), max_size=2)
    changed = changes.map(
        lambda those: {name: value for name, value in {**new, **those}.items() if value is not LEFT_OUT}
    )
    raw = st.sampled_from(list(NO_OBJECTS.values())) | st.tuples(st.binary(max_size=40), content_types)
    return st.one_of(st.just(new), st.just({"id": ""}), changed, changed, values, raw, st.none())


content_types = st.sampled_from(
    ["application/json", "application/json", "application/json; charset=utf-7", "text/plain", "", "x" * 300, "/",
     "application/x-www-form-urlencoded", "multipart/form-data", "multipart/form-data; boundary=", "application/json;;=",
     "multipart/form-data; boundary=b", "multipart/form-data; boundary=" + "b" * 300, "application/vnd.api+json"]
)  # fmt: skip
ids = st.one_of(st.sampled_from(NO_IDS), texts.map(lambda text: quote(text, safe="", errors="surrogatepass")))
tails = st.sampled_from(["", "", "", "", "/", "//", "/nothing", "/rotate-secret", "%2F", "?format=html", "?x=%00%ff"])
headers = st.fixed_dictionaries(
    {},
    optional={
        "Idempotency-Key": st.sampled_from(["a", "b", "", "x" * 300, "\x00", "\xe9"]),
        "Accept": st.sampled_from(["text/html", "*/*", "application/xml;q=0.1", "", ",;=", "x" * 9000]),
        "X-HTTP-Method-Override": st.just("DELETE"),
        "Accept-Language": st.sampled_from(["de", "\xff", "*;q=x"]),
        "Cookie": st.just("sessionid=x; csrftoken=\x01"),
    },
)


def requests_to(route: Route, method: str) -> st.SearchStrategy[Asked]:
    """As they are meant to be, but for the body and what else is strange."""
    return _asked(
        st.just((method, route)), st.sampled_from(["ours", "ours", "theirs", "text"]), st.just("good"), st.just("")
    )


def requests_anywhere(name: str) -> st.SearchStrategy[Asked]:
    """With any method to any path below the prefix, by anybody."""
    nowhere = [Route(name, path, ()) for path in ("/", "/nothing", "/webhooks.json", "/api/v2/webhooks", "/../x")]
    routes = [route for route in ROUTES if route.prefix == name]
    pairs = st.tuples(st.sampled_from(METHODS), st.sampled_from([*routes, *routes, *nowhere]))
    return _asked(pairs, st.sampled_from(["ours", "theirs", "text"]), st.sampled_from(["good", *KEYS]), tails)


def _asked(pairs: Any, whose: Any, keys: Any, tails: Any) -> st.SearchStrategy[Asked]:
    @st.composite
    def one(draw: Any) -> Asked:
        method, route = draw(pairs)
        return Asked(
            method,
            route,
            whose=draw(whose),
            text=draw(ids),
            tail=draw(tails),
            key=draw(keys),
            body=draw(bodies(DIALECTS[route.prefix].new)),
            written=draw(st.just("application/json") | content_types),
            headers=draw(st.just({}) | headers),
        )

    return one()


# --- who asks, and what must be true of every answer -------------------------------------------------------------------


@dataclass
class Customer:
    """Sends requests and looks at each answer; knows the secrets that were told and the ids that are ours."""

    name: str
    text: str = field(default_factory=lambda: key("ours"))
    reader: str = field(default_factory=lambda: key("ours", [Scope.WEBHOOKS_READ]))
    told: set[str] = field(default_factory=set)
    ours: list[str] = field(default_factory=list)
    theirs: str = "1"
    client: Client = field(default_factory=lambda: Client(raise_request_exception=False))

    @property
    def dialect(self) -> Dialect:
        return DIALECTS[self.name]

    def key_headers(self, kind: str) -> dict[str, str]:
        if kind in ("good", "reader"):
            name, form = self.dialect.key
            return {name: form.format(self.text if kind == "good" else self.reader)}
        return {name: form.format(self.text) for name, form in KEYS[kind].items()}

    def ask(self, asked: Asked) -> None:
        id_ = self.one_of_ours() if asked.whose == "ours" else self.theirs if asked.whose == "theirs" else asked.text
        body, kind = _encoded(asked.body, asked.written, id_)
        # Django decodes a query as the body's charset says, before anybody can answer for "zlib", which is no charset.
        path = asked.route.at(id_) + ("" if "charset" in kind else asked.tail)
        given = {**asked.headers, **self.key_headers(asked.key)}
        response = self.client.generic(asked.method, path, body, content_type=kind, headers=given)
        self.look(asked, response)

    def one_of_ours(self) -> str:
        """The id of a webhook that is there."""
        create = self.create
        if create and not Endpoint.objects.visible().filter(tenant__uid="ours").exists():
            self.ask(Asked("POST", create, "text", "", "", "good", self.dialect.new, "application/json", {}))
        return self.ours[-1] if self.ours else "1"

    @property
    def create(self) -> Route | None:
        """Where webhooks are made; None where there are none."""
        return next((one for one in ROUTES if one.prefix == self.name and one.path.endswith("/webhooks")), None)

    def look(self, asked: Asked, response: HttpResponse) -> None:
        method, status = asked.method, response.status_code
        match = response.resolver_match  # type: ignore[attr-defined]  # the test client's
        path = match.route.removeprefix(self.name)
        assert asked.key in ("good", "reader") or status in (401, 404), "nothing is done without a key"
        assert asked.key != "reader" or method in ("GET", "HEAD") or status >= 400, "reading is all it may do"
        if method == "HEAD" or status == 204:
            assert response.content == b""
            expected = self.dialect.answers.get(("GET" if method == "HEAD" else method, path), (0, None))[0]
            assert status == expected or (method == "HEAD" and status in REFUSALS)
            return
        assert response["Content-Type"] == "application/json", response.content[:200]
        answer = json.loads(response.content)
        if status >= 400:
            assert status in REFUSALS
            jsonschema.validate(answer, self.dialect.error)
            assert answer.get("code", status) == status or not isinstance(answer["code"], int)
        else:
            expected, shape = self.dialect.answers[method, path]
            assert status == expected
            jsonschema.validate(answer, shape)
        self.keeps_secrets((method, path), response, answer)

    def keeps_secrets(self, at: tuple[str, str], response: HttpResponse, answer: Any) -> None:
        content = response.content.decode()
        for hidden in (*self.told, BROUGHT, THEIR_HOST, self.theirs.removeprefix("wh_"), self.text, self.reader):
            assert len(hidden) < 16 or hidden not in content
        data = answer.get("data", answer) if isinstance(answer, dict) else answer
        if isinstance(data, dict) and "secret" in data:
            assert at in self.dialect.tells
            assert "Idempotent-Replayed" not in response.headers
            self.told.add(data["secret"])
        if isinstance(data, dict) and response.status_code == 201 and "events" in data:
            self.ours.append(str(data["id"]))
        for one in data if isinstance(data, list) else [data]:
            assert "events" not in one or str(one["id"]) in self.ours, "somebody else's"


def _encoded(body: Any, written: str, id_: str) -> tuple[bytes, str]:
    if body is None:
        return b"", written
    if isinstance(body, tuple):
        return body
    if isinstance(body, dict) and body.get("id") == "":
        body = {**body, "id": id_}
    escaped = len(written) % 2 == 0
    return json.dumps(body, ensure_ascii=escaped).encode("utf-8", "surrogatepass"), written


def test_the_shapes_are_of_every_route() -> None:
    assert {(route.prefix, method, route.path) for route in ROUTES for method in route.methods} == {
        (name, method, path) for name, dialect in DIALECTS.items() for method, path in dialect.answers
    }


@pytest.mark.parametrize(
    ("route", "method"),
    [(route, method) for route in ROUTES for method in route.methods],
    ids=lambda value: value.full if isinstance(value, Route) else value,
)
def test_whatever_a_route_is_sent_gets_an_answer_of_the_documents_shape(
    route: Route, method: str, configure: Any
) -> None:
    """No 5xx, no redirect, no page; nothing of another tenant's, and a secret only where it is made."""
    fuzz(route.prefix, requests_to(route, method), 30, configure)


@pytest.mark.parametrize("name", DIALECTS)
def test_whoever_asks_for_whatever_gets_an_answer_of_the_documents_shape(name: str, configure: Any) -> None:
    """Other methods, other paths, other people: the same holds."""
    fuzz(name, requests_anywhere(name), 60, configure)


def fuzz(name: str, requests: st.SearchStrategy[Asked], examples: int, configure: Any) -> None:
    """Ask all that, as a tenant beside which there is another; at the end that one's webhook is as it was."""
    configure(API={"RATE_LIMIT": ""})
    customer = Customer(name)
    if customer.create:
        customer.theirs = their_webhook(name, customer.create)
        customer.told.update(row.reveal() for row in Secret.objects.all())
    Tenant.objects.filter(uid="ours").update(max_endpoints=20)
    columns = ("url", "status", "channels", "secrets__value")
    before = list(Endpoint.objects.filter(tenant__uid="theirs").values_list(*columns))

    # The same requests each time, so that a change is blamed for what it did; FUZZ=1000 tries others, and more of them.
    more = int(os.environ.get("FUZZ", "0"))

    @settings(
        max_examples=more or examples,
        derandomize=not more,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(asked=requests)
    def send(asked: Asked) -> None:
        customer.ask(asked)

    send()
    assert list(Endpoint.objects.filter(tenant__uid="theirs").values_list(*columns)) == before


def their_webhook(name: str, create: Route) -> str:
    """The id of another tenant's, which is otherwise like ours."""
    owner = Customer(name, text=key("theirs"))
    body = {**owner.dialect.new, "url": f"https://{THEIR_HOST}/"}
    response = owner.client.post(
        create.at(""), body, content_type="application/json", headers=owner.key_headers("good")
    )
    made = response.json()
    return str(made.get("data", made)["id"])
