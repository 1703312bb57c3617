"""messages.dev's API, asked over HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.dialects import Curl, catalogue_of, key, root_of
from webhooks_app.endpoints.service import create_endpoint
from webhooks_app.endpoints.status import disable_endpoint
from webhooks_app.models import AuditEntry, Endpoint, IdempotencyRecord, Scope, Tenant

pytestmark = pytest.mark.django_db(transaction=True)

LINE = "+15551234567"
#: The document's own request.
DOCUMENTED = {"from": LINE, "url": "https://your-server.com/webhooks", "events": ["message.received", "message.sent"]}
NO_SUCH = (404, {"error": {"code": "NOT_FOUND", "message": "Webhook not found"}})


@pytest.fixture(autouse=True)
def _catalogue(transactional_db: None) -> Iterator[None]:
    with catalogue_of("messages_dev"):
        yield


root = root_of("messages-dev")


@pytest.fixture
def curl(root: str) -> Curl:
    return Curl(root, {"Authorization": f"Bearer {key()}"})


def invalid(message: str, code: str = "INVALID_FIELD") -> tuple[int, dict[str, Any]]:
    return 400, {"error": {"code": code, "message": message}}


class TestCreate:
    def test_answers_with_the_webhook_and_its_secret_this_once(self, curl: Curl) -> None:
        before = int(time.time() * 1000)
        status, made = curl.asked("POST", "/webhooks", DOCUMENTED)
        assert status == 201
        secret, created_at = made.pop("secret"), made.pop("created_at")
        row = Endpoint.objects.get()
        assert made == {"id": row.public_id, **DOCUMENTED, "active": True}
        assert made["id"].startswith("wh_")
        assert before - 1000 <= created_at <= time.time() * 1000 + 1000
        assert isinstance(created_at, int)
        assert (row.wire_format, row.channels, row.secrets.get().reveal()) == ("messages_dev", [f"line:{LINE}"], secret)
        assert secret not in curl("GET", "/webhooks").text
        assert AuditEntry.objects.get(verb="endpoint.created").actor.startswith("key:")

    def test_takes_every_documented_event(self, curl: Curl) -> None:
        events = ["message.received", "message.sent", "reaction.added", "reaction.removed"]
        events += ["typing.started", "typing.stopped", "receipt.read"]
        assert curl.asked("POST", "/webhooks", {**DOCUMENTED, "events": events})[1]["events"] == events

    def test_ignores_what_it_does_not_know(self, curl: Curl) -> None:
        more = {
            "id": "wh_1",
            "secret": "mine mine mine mine",
            "active": False,
            "channels": ["x"],
            "wire_format": "standard",
        }
        status, made = curl.asked("POST", "/webhooks", {**DOCUMENTED, **more})
        assert (status, made["active"], made["from"]) == (201, True, LINE)
        assert made["secret"] != more["secret"]
        assert (Endpoint.objects.get().wire_format, Endpoint.objects.get().channels) == (
            "messages_dev",
            [f"line:{LINE}"],
        )

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"from": None}, "from: This field may not be null."),
            ({"from": ""}, "from: This field may not be blank."),
            ({"from": 15551234567}, "from: Not a valid string."),
            ({"from": [LINE]}, "from: Not a valid string."),
            ({"from": "x" * 124}, "from: Ensure this field has no more than 123 characters."),
            ({"from": f"{LINE},+15550000000"}, "from: Enter one line, such as +15551234567."),
            ({"from": f"{LINE} +15550000000"}, "from: Enter one line, such as +15551234567."),
            ({"from": f"{LINE}\n"}, "from: Enter one line, such as +15551234567."),
            ({"url": None}, "url: This field may not be null."),
            ({"url": 7}, "url: Not a valid string."),
            ({"events": None}, "events: This field may not be null."),
            ({"events": "message.sent"}, 'events: Expected a list of items but got type "str".'),
            ({"events": [7]}, "events.0: Not a valid string."),
        ],
        ids=str,
    )
    def test_says_which_field_is_at_fault(self, curl: Curl, change: dict[str, Any], message: str) -> None:
        assert curl.asked("POST", "/webhooks", {**DOCUMENTED, **change}) == invalid(message)
        assert not Endpoint.objects.exists()

    @pytest.mark.parametrize("missing", ["from", "url", "events"])
    def test_needs_every_field(self, curl: Curl, missing: str) -> None:
        body = {name: value for name, value in DOCUMENTED.items() if name != missing}
        assert curl.asked("POST", "/webhooks", body) == invalid(f"{missing}: This field is required.")

    @pytest.mark.parametrize(
        ("change", "message", "code"),
        [
            ({"events": []}, "Choose 1 to 50 events; there are 0.", "INVALID_ENDPOINT"),
            (
                {"events": ["nobody.knows"]},
                "There is no event type 'nobody.knows'. Look at the list of event types.",
                "INVALID_ENDPOINT",
            ),
            ({"url": "https://10.0.0.1/"}, "This address is not allowed.", "URL_NOT_ALLOWED"),
            ({"url": "ftp://example.com/"}, "The URL must start with https://.", "URL_NOT_ALLOWED"),
        ],
        ids=str,
    )
    def test_says_what_is_not_allowed(self, curl: Curl, change: dict[str, Any], message: str, code: str) -> None:
        assert curl.asked("POST", "/webhooks", {**DOCUMENTED, **change}) == invalid(message, code)
        assert not Endpoint.objects.exists()

    def test_takes_https_only_where_the_settings_do(self, curl: Curl, configure: Any) -> None:
        configure(ALLOW_HTTP=False)
        refused = invalid("The URL must start with https://; plain http:// is not accepted.", "URL_NOT_ALLOWED")
        assert curl.asked("POST", "/webhooks", {**DOCUMENTED, "url": "http://your-server.com/"}) == refused

    @pytest.mark.parametrize(
        "body",
        [b"{", b"[]", b"null", b'"x"', b"\xff", b"[" * 100_000, b'{"from": NaN}', b'{"from": "\\ud800"}',
         b'{"from": "\\u0000", "url": "https://a.example/", "events": ["*"]}',
         b'{"from": "\\udfff", "url": "https://a.example/", "events": ["*"]}'],
        ids=lambda body: str(body[:40]),
    )  # fmt: skip
    @pytest.mark.parametrize("method", ["POST", "DELETE"])
    def test_is_never_confused_by_what_it_gets(self, curl: Curl, method: str, body: bytes) -> None:
        status, refused = curl.asked(method, "/webhooks", body)
        assert (status, set(refused), set(refused["error"])) == (400, {"error"}, {"code", "message"})
        assert refused["error"]["code"] in ("MALFORMED_REQUEST", "INVALID_FIELD")
        assert refused["error"]["message"]
        assert not Endpoint.objects.exists()

    def test_keeps_to_the_plan(self, curl: Curl) -> None:
        Tenant.objects.update(max_endpoints=1)
        assert curl.asked("POST", "/webhooks", DOCUMENTED)[0] == 201
        status, refused = curl.asked("POST", "/webhooks", DOCUMENTED)
        assert (status, refused["error"]["code"]) == (403, "MAX_WEBHOOK_ENDPOINTS_REACHED")

    def test_that_meets_a_bug_answers_in_its_own_form(self, curl: Curl, configure: Any) -> None:
        configure(PLAN="tests.acceptance.test_dialect_messages_dev.broken_plan")
        refused = (500, {"error": {"code": "ERROR", "message": "Internal server error"}})
        assert curl.asked("POST", "/webhooks", DOCUMENTED) == refused


def broken_plan(tenant: Tenant) -> None:
    raise RuntimeError("a bug of the host's")


class TestAnIdempotencyKey:
    def test_makes_one_webhook_and_never_gives_its_secret_again(self, curl: Curl) -> None:
        _, first = curl.asked("POST", "/webhooks", DOCUMENTED, Idempotency_Key="a")
        secret = first.pop("secret")
        again = curl("POST", "/webhooks", DOCUMENTED, Idempotency_Key="a")
        assert (again.status_code, again.headers["Idempotent-Replayed"], again.json()) == (201, "true", first)
        assert Endpoint.objects.count() == 1
        assert secret not in IdempotencyRecord.objects.get().body

    def test_of_another_request_is_a_conflict(self, curl: Curl) -> None:
        curl.asked("POST", "/webhooks", DOCUMENTED, Idempotency_Key="a")
        other = {**DOCUMENTED, "from": "+15550000000"}
        status, refused = curl.asked("POST", "/webhooks", other, Idempotency_Key="a")
        assert (status, refused["error"]["code"]) == (409, "IDEMPOTENCY_CONFLICT")


class TestList:
    def test_shows_the_newest_first_without_secrets(self, curl: Curl) -> None:
        made = [curl.asked("POST", "/webhooks", {**DOCUMENTED, "from": line})[1] for line in (LINE, "+15550000000")]
        for one in made:
            del one["secret"]
        assert curl.asked("GET", "/webhooks") == (200, {"data": made[::-1]})

    def test_tells_when_one_is_switched_off(self, curl: Curl) -> None:
        curl.asked("POST", "/webhooks", DOCUMENTED)
        disable_endpoint(Endpoint.objects.get(), notify=False)
        assert curl.asked("GET", "/webhooks")[1]["data"][0]["active"] is False

    def test_has_no_line_for_one_of_every_line(self, curl: Curl) -> None:
        create_endpoint("acme", url=DOCUMENTED["url"], events=["*"], wire_format="messages_dev", channels=["other"])
        assert curl.asked("GET", "/webhooks")[1]["data"][0]["from"] is None

    def test_leaves_out_other_tenants_and_other_wire_formats(self, curl: Curl, root: str) -> None:
        create_endpoint("acme", url=DOCUMENTED["url"], events=["*"], wire_format="muchaw")
        other = Curl(root, {"X-API-Key": key("other")})
        assert other.asked("POST", "/webhooks", DOCUMENTED)[0] == 201
        assert curl.asked("GET", "/webhooks") == (200, {"data": []})

    def test_costs_the_same_for_one_and_for_many(self, client: Any, django_assert_num_queries: Any) -> None:
        headers = {"X-API-Key": key()}
        for count in (1, 4):
            for _ in range(count):
                create_endpoint("acme", url=DOCUMENTED["url"], events=["message.sent"], wire_format="messages_dev")
            client.get("/messages-dev/webhooks", headers=headers)  # notes the key's use
            with django_assert_num_queries(3):
                client.get("/messages-dev/webhooks", headers=headers)


class TestDelete:
    def test_takes_the_id_from_the_body(self, curl: Curl) -> None:
        made = curl.asked("POST", "/webhooks", DOCUMENTED)[1]
        other = curl.asked("POST", "/webhooks", DOCUMENTED)[1]
        assert curl.asked("DELETE", "/webhooks", {"id": made["id"]}) == (204, None)
        assert [one["id"] for one in curl.asked("GET", "/webhooks")[1]["data"]] == [other["id"]]
        assert curl.asked("DELETE", "/webhooks", {"id": made["id"]}) == NO_SUCH

    @pytest.mark.parametrize("id_", ["wh_abc123", "wh_", "x", "0", "wh_" + "f" * 32, "wh_" + "0" * 5000, "-" * 32])
    def test_of_an_id_that_is_none_is_not_found(self, curl: Curl, id_: str) -> None:
        assert curl.asked("DELETE", "/webhooks", {"id": id_}) == NO_SUCH

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ({}, "id: This field is required."),
            (None, "id: This field is required."),
            ({"id": None}, "id: This field may not be null."),
            ({"id": ""}, "id: This field may not be blank."),
            ({"id": 7}, "id: Not a valid string."),
            ({"id": ["wh_abc123"]}, "id: Not a valid string."),
        ],
        ids=str,
    )
    def test_without_an_id_says_so(self, curl: Curl, body: Any, message: str) -> None:
        assert curl.asked("DELETE", "/webhooks", body) == invalid(message)

    def test_of_anothers_is_not_found(self, curl: Curl, root: str) -> None:
        body = {"id": curl.asked("POST", "/webhooks", DOCUMENTED)[1]["id"]}
        assert Curl(root, {"X-API-Key": key("other")}).asked("DELETE", "/webhooks", body) == NO_SUCH
        muchaw, _ = create_endpoint("acme", url=DOCUMENTED["url"], events=["*"], wire_format="muchaw")
        assert curl.asked("DELETE", "/webhooks", {"id": muchaw.public_id}) == NO_SUCH
        assert Endpoint.objects.visible().count() == 2


class TestAuthentication:
    def test_takes_the_key_in_either_header(self, root: str) -> None:
        for headers in ({"X-API-Key": key()}, {"Authorization": f"Bearer {key()}"}):
            assert Curl(root, headers).asked("GET", "/webhooks")[0] == 200

    @pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
    @pytest.mark.parametrize(
        ("headers", "code", "message"),
        [
            ({}, "NOT_AUTHENTICATED", "Send an API key in the header `Authorization: Bearer …` or `X-API-Key`."),
            (
                {"X-API-Key": "wk_x"},
                "INVALID_API_KEY",
                "This API key is unknown, expired or revoked. Create another one.",
            ),
        ],
        ids=str,
    )
    def test_that_is_missing_or_bad_is_refused(
        self, root: str, method: str, headers: dict[str, str], code: str, message: str
    ) -> None:
        refused = (401, {"error": {"code": code, "message": message}})
        assert Curl(root, headers).asked(method, "/webhooks", DOCUMENTED) == refused

    def test_lets_a_key_do_what_it_may(self, root: str) -> None:
        reader = Curl(root, {"X-API-Key": key(scopes=[Scope.WEBHOOKS_READ])})
        assert reader.asked("GET", "/webhooks")[0] == 200
        for method in ("POST", "DELETE"):
            status, refused = reader.asked(method, "/webhooks", DOCUMENTED)
            assert (status, refused["error"]["code"]) == (403, "FORBIDDEN")


def test_other_methods_and_media_types_are_refused_in_the_same_form(curl: Curl) -> None:
    status, refused = curl.asked("PUT", "/webhooks", DOCUMENTED)
    assert (status, refused["error"]["code"]) == (405, "METHOD_NOT_ALLOWED")
    status, refused = curl.asked("POST", "/webhooks", b"from=x", Content_Type="application/x-www-form-urlencoded")
    assert (status, refused["error"]["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
