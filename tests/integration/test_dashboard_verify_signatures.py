"""The customers' page that teaches verifying, and its check of a signature."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.factories import SECRET, EndpointFactory, EventFactory, TenantFactory
from tests.pipelines import WIRE_FORMATS, endpoint_at
from tests.receiver import Receiver
from tests.visitors import visiting
from tests.wire_formats import BUILT_IN
from webhooks_app import emit
from webhooks_app.core.signing import HexScheme, key_of
from webhooks_app.dashboard.signature_results import WORDS
from webhooks_app.endpoints.check_signature import SignatureProblem
from webhooks_app.engine.types import EventBody
from webhooks_app.models import Event, Tenant
from webhooks_app.snippets import LANGUAGES, snippet
from webhooks_app.tenants.access import Role
from webhooks_app.wire_formats import get_wire_format
from webhooks_app.wire_formats.base import WireFormat

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("visitors")]

PAGE = "/webhooks/verify-signatures"
OTHER = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
BARE = "0123456789abcdef0123456789abcdef"
GOOD = "This request is genuine."


def secret_for(wire_format: WireFormat) -> str:
    return SECRET if wire_format.secret_format.key_from == "base64" else BARE


def signed(event: Event, wire_format: str = "standard", age: int = 0) -> dict[str, str]:
    """A filled-in form: a request as it would have arrived so many seconds ago."""
    wire = get_wire_format(wire_format)
    body = EventBody(event.id, event.type, event.occurred_at, event.data).body(wire)
    secret = secret_for(wire)
    moment = int(timezone.now().timestamp()) - age
    keys = (key_of(secret, wire.secret_format),)
    headers = wire.scheme.headers(message_id=event.public_id, timestamp=moment, body=body, keys=keys)
    lines = ["Host: example.com", *(f"{name}: {value}" for name, value in headers)]
    return {"headers": "\n".join(lines), "body": body.decode(), "secret": secret}


@pytest.fixture
def event() -> Event:
    return EventFactory(payload={"text": "Grüße", "n": 1})


def check(tenant: Tenant, form: dict[str, str], query: str = "") -> Any:
    """The whole answer; what it found is its context's `result`."""
    return visiting(tenant).post(PAGE + query, form)


def found(event: Event, form: dict[str, str]) -> str:
    answer = check(event.tenant, form)
    assert answer.status_code == 200
    return str(answer.context["result"].title)


def words(problem: SignatureProblem) -> str:
    return str(WORDS[problem][0])


class TestThePage:
    @pytest.mark.parametrize("name", sorted(BUILT_IN))
    def test_is_about_the_tenants_wire_format(self, name: str) -> None:
        wire_format = get_wire_format(name)
        shown = visiting(TenantFactory(wire_format=name)).get(PAGE)
        page = html.unescape(shown.content.decode())
        for header in wire_format.scheme.header_names:
            assert header in page.lower()
        for language in LANGUAGES:
            assert snippet(wire_format, language) in page
        assert len(shown.context["tries"]) == wire_format.retry.max_attempts

    def test_says_the_schedule_in_words(self) -> None:
        tries = visiting(TenantFactory(wire_format="muchaw")).get(PAGE).context["tries"]
        assert [(one.wait, one.after) for one in tries] == [
            ("", ""),
            ("30 seconds", "30 seconds"),
            ("5 minutes", "5 minutes 30 seconds"),
            ("30 minutes", "35 minutes 30 seconds"),
        ]

    def test_can_be_about_another_wire_format_that_an_endpoint_speaks(self) -> None:
        endpoint = EndpointFactory(wire_format="msgflash")
        client = visiting(endpoint.tenant)
        assert "X-MsgFlash-Signature" not in client.get(PAGE).content.decode()
        assert "X-MsgFlash-Signature" in client.get(f"{PAGE}?wire_format=msgflash").content.decode()
        assert client.get(f"{PAGE}?wire_format=muchaw").status_code == 404

    def test_names_the_addresses_or_says_that_there_are_none(self, configure: Any) -> None:
        client = visiting(TenantFactory())
        assert "There is no list of addresses" in client.get(PAGE).content.decode()
        configure(EGRESS={"ADDRESSES": ["192.0.2.7", "2001:db8::/56"]})
        assert "192.0.2.7\n2001:db8::/56</code>" in client.get(PAGE).content.decode()

    def test_asks_the_database_as_often_for_twenty_endpoints_as_for_two(self) -> None:
        tenant, counts = TenantFactory(), set()
        client = visiting(tenant)
        for number in (2, 20):
            for _ in range(number):
                EndpointFactory(tenant=tenant)
            with CaptureQueriesContext(connection) as queries:
                client.get(PAGE)
            counts.add(len(queries))
        assert len(counts) == 1


class TestTheCheck:
    @pytest.mark.parametrize("name", sorted(BUILT_IN))
    def test_finds_a_request_genuine_in_every_wire_format(self, event: Event, name: str) -> None:
        event.tenant.wire_format = name
        event.tenant.save()
        assert found(event, signed(event, name)) == GOOD

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            ({"headers": "nothing of the kind"}, SignatureProblem.NO_HEADERS),
            ({"headers": "[1, 2]"}, SignatureProblem.NO_HEADERS),
            ({"headers": "[" * 32_000}, SignatureProblem.NO_HEADERS),
            ({"headers": "webhook-id: evt_1\nwebhook-timestamp: 5"}, SignatureProblem.HEADER_MISSING),
            ({"secret": "whsec_*"}, SignatureProblem.UNUSABLE_KEY),
            ({"secret": "whsec_"}, SignatureProblem.UNUSABLE_KEY),
            ({"secret": "whsec_é"}, SignatureProblem.UNUSABLE_KEY),
            ({"secret": OTHER}, SignatureProblem.WRONG_KEY),
            ({"body": '{"type":"message.sent"}'}, SignatureProblem.BODY_CHANGED),
            ({"body": "no JSON at all"}, SignatureProblem.BODY_CHANGED),
            ({"body": "[" * 100_000}, SignatureProblem.BODY_CHANGED),
            ({"body": "[" * 900 + "]" * 900}, SignatureProblem.BODY_CHANGED),
            ({"body": "9" * 5000}, SignatureProblem.BODY_CHANGED),
            ({"body": "{}", "secret": OTHER}, SignatureProblem.NO_MATCH),
        ],
    )
    def test_says_which_step_fails(self, event: Event, change: dict[str, str], problem: SignatureProblem) -> None:
        assert found(event, {**signed(event), **change}) == words(problem)

    @pytest.mark.parametrize(
        ("age", "problem"), [(3600, SignatureProblem.TOO_OLD), (-3600, SignatureProblem.TOO_EARLY)]
    )
    def test_tells_the_time_from_the_signature(self, event: Event, age: int, problem: SignatureProblem) -> None:
        answer = check(event.tenant, signed(event, age=age))
        assert answer.context["result"].title == words(problem)
        assert answer.context["result"].detail.startswith(("Off by 59 minutes", "Off by 1 hour"))

    @pytest.mark.parametrize("time", ["yesterday", "-1", "1e5", "9" * 13, "٣"])
    def test_knows_a_timestamp_that_is_none(self, event: Event, time: str) -> None:
        form = signed(event)
        form["headers"] += f"\nwebhook-timestamp: {time}"
        assert found(event, form) == words(SignatureProblem.TIME_UNREADABLE)

    @pytest.mark.parametrize("ending", ["\n", "\r\n", "  "])
    def test_forgives_what_copying_adds(self, event: Event, ending: str) -> None:
        form = signed(event)
        assert found(event, {**form, "body": form["body"] + ending}) == words(SignatureProblem.LINE_BREAKS)
        assert found(event, {**form, "secret": f" {form['secret']} "}) == GOOD

    def test_knows_json_that_was_parsed_and_written_again(self, event: Event) -> None:
        form = signed(event)
        for options in ({"indent": 2}, {"ensure_ascii": True}):
            body = json.dumps(json.loads(form["body"]), **{"ensure_ascii": False, **options})
            assert found(event, {**form, "body": body}) == words(SignatureProblem.BODY_RESERIALIZED)

    def test_takes_headers_as_json_too(self, event: Event) -> None:
        form = signed(event)
        lines = (line.split(": ", 1) for line in form["headers"].splitlines())
        assert found(event, {**form, "headers": json.dumps(dict(lines))}) == GOOD

    def test_without_the_event_cannot_tell_body_from_secret(self, event: Event) -> None:
        form = {**signed(event), "secret": OTHER}
        assert check(TenantFactory(), form).context["result"].title == words(SignatureProblem.NO_MATCH)

    @pytest.mark.parametrize("known", [True, False])
    def test_says_of_a_secret_how_it_would_look(self, event: Event, known: bool) -> None:
        tenant = event.tenant if known else TenantFactory()
        result = check(tenant, {**signed(event), "secret": "hunter2hunter2hunter2hunter2"}).context["result"]
        assert (result.title, result.detail) == (words(SignatureProblem.UNUSUAL_KEY_FORMAT), "whsec_")

    @pytest.mark.parametrize(
        ("age", "says"), [(0, ""), (7200, "the timestamp is 2 hours old"), (-7230, "the timestamp is 2 hours ahead")]
    )
    def test_names_a_strange_time_beside_a_signature_that_does_not_fit(self, event: Event, age: int, says: str) -> None:
        result = check(event.tenant, {**signed(event, age=age), "secret": OTHER}).context["result"]
        assert result.title == words(SignatureProblem.WRONG_KEY)
        assert says in result.besides
        assert bool(says) == bool(result.besides)

    def test_never_uses_a_secret_of_ours(self, event: Event) -> None:
        EndpointFactory(tenant=event.tenant, secret_text=SECRET)
        with CaptureQueriesContext(connection) as queries:
            assert found(event, {**signed(event), "secret": OTHER}) == words(SignatureProblem.WRONG_KEY)
        assert not any("secret" in query["sql"].lower() for query in queries)

    @pytest.mark.parametrize("change", [{}, {"body": "{}"}, {"headers": ""}, {"headers": "x" * 40_000}])
    def test_neither_shows_nor_keeps_the_secret(self, event: Event, change: dict[str, str], caplog: Any) -> None:
        answer = check(event.tenant, {**signed(event), **change})
        assert answer.status_code == (422 if "headers" in change else 200)
        assert SECRET not in answer.content.decode()
        assert SECRET not in caplog.text
        assert "no-store" in answer["Cache-Control"]
        assert not Event.objects.filter(data__contains=SECRET).exists()

    def test_never_runs_what_was_pasted(self, event: Event) -> None:
        evil = "</textarea><script>alert(1)</script>"
        page = check(event.tenant, {**signed(event), "body": evil, "headers": f"webhook-id: {evil}"}).content.decode()
        assert "<script>" not in page

    def test_is_not_for_viewers(self, event: Event) -> None:
        client = visiting(event.tenant, Role.VIEWER)
        assert client.post(PAGE, signed(event)).status_code == 403
        assert 'name="secret"' not in client.get(PAGE).content.decode()

    def test_has_words_for_all_that_it_finds(self) -> None:
        assert set(WORDS) == set(SignatureProblem)


def _fails(*_: object, **__: object) -> Any:
    raise KeyError("a mistake of the host's")


class _Failing(HexScheme):
    verify = _fails


NO_ENVELOPE = replace(BUILT_IN["standard"], name="no-envelope", envelope=_fails)
NO_SCHEME = replace(BUILT_IN["msgflash"], name="no-scheme", scheme=_Failing("X-MsgFlash-Signature"))


@pytest.mark.parametrize("wire_format", [NO_ENVELOPE, NO_SCHEME], ids=lambda one: one.name)
def test_a_wire_format_of_the_hosts_that_fails_is_no_error_of_the_page(
    wire_format: WireFormat, event: Event, configure: Any
) -> None:
    path = f"{__name__}.{wire_format.name.upper().replace('-', '_')}"
    configure(WIRE_FORMATS={**WIRE_FORMATS, wire_format.name: path}, DEFAULT_WIRE_FORMAT=wire_format.name)
    form = signed(event, "msgflash") if wire_format is NO_SCHEME else {**signed(event), "secret": OTHER}
    assert found(event, form) == words(SignatureProblem.NO_MATCH)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("pipeline")
def test_finds_what_was_really_delivered_genuine(receiver: Receiver, deliver: Callable[[], object]) -> None:
    endpoint = endpoint_at(receiver)
    emit("test.happened", {"n": 1}, tenant=endpoint.tenant.uid)
    deliver()
    (sent,) = receiver.requests
    headers = "\n".join(f"{name}: {value}" for name, value in sent.headers.items())
    form = {"headers": headers, "body": sent.body.decode(), "secret": SECRET}
    assert check(endpoint.tenant, form).context["result"].title == GOOD
    changed = check(endpoint.tenant, {**form, "body": form["body"].replace("1", "2")})
    assert changed.context["result"].title == words(SignatureProblem.BODY_CHANGED)
