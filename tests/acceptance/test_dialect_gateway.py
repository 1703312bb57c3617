"""The WhatsApp gateway's API, asked as its document's `curl` lines ask it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.dialects import Curl, catalogue_of, key, root_of
from tests.factories import EndpointFactory
from webhooks_app.endpoints.numeric_ids import number_endpoints
from webhooks_app.endpoints.service import create_endpoint
from webhooks_app.endpoints.status import disable_endpoint
from webhooks_app.models import AuditEntry, Endpoint, EndpointNumber, IdempotencyRecord, Scope, Tenant

pytestmark = pytest.mark.django_db(transaction=True)

URL = "https://your-server.com/webhook"
EVENTS = ["message.received", "connection.connected"]
#: The document's own request.
DOCUMENTED = {"url": URL, "secret": "string", "events": EVENTS}


@pytest.fixture(autouse=True)
def _catalogue(transactional_db: None) -> Iterator[None]:
    with catalogue_of("gateway"):
        yield


root = root_of("gateway")


@pytest.fixture
def curl(root: str) -> Curl:
    return Curl(root, {"Authorization": key()})


def refusal(code: int, message: str, error: str) -> tuple[int, dict[str, Any]]:
    return code, {"status": False, "code": code, "message": message, "error": error}


NO_SUCH = refusal(404, "Not found", "Webhook not found")


class TestCreate:
    def test_answers_as_documented_and_keeps_the_callers_secret_to_itself(self, curl: Curl) -> None:
        status, made = curl.asked("POST", "/webhooks", DOCUMENTED)
        assert status == 201
        created_at = made["data"].pop("created_at")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", created_at)
        number = EndpointNumber.objects.get()
        assert made == {
            "code": 201,
            "status": True,
            "message": "Webhook created successfully",
            "data": {"id": number.pk, "url": URL, "active": True, "events": EVENTS},
        }
        assert isinstance(made["data"]["id"], int)
        row = Endpoint.objects.get()
        assert (row.wire_format, row.secrets.get().reveal(), row.pk) == ("gateway", "string", number.endpoint_id)
        assert AuditEntry.objects.get(verb="endpoint.created").actor.startswith("key:")

    @pytest.mark.parametrize("given", [{}, {"secret": None}, {"secret": ""}], ids=str)
    def test_without_a_secret_makes_one_and_shows_it_this_once(self, curl: Curl, given: dict[str, Any]) -> None:
        _, made = curl.asked("POST", "/webhooks", {"url": URL, "events": EVENTS, **given})
        secret = made["data"].pop("secret")
        assert Endpoint.objects.get().secrets.get().reveal() == secret
        assert set(made["data"]) == {"id", "url", "active", "events", "created_at"}
        assert curl.asked("GET", f"/webhooks/{made['data']['id']}")[1]["data"] == made["data"]
        assert secret not in curl("GET", "/webhooks").text

    @pytest.mark.parametrize("given", [{}, {"events": None}, {"events": []}], ids=str)
    def test_without_events_is_for_all(self, curl: Curl, given: dict[str, Any]) -> None:
        assert curl.asked("POST", "/webhooks", {"url": URL, **given})[1]["data"]["events"] == ["*"]

    @pytest.mark.parametrize("secret", ["x", " ", "clé 😀", "x" * 1024])
    def test_takes_any_secret_as_it_was_typed(self, curl: Curl, secret: str) -> None:
        assert curl.asked("POST", "/webhooks", {"url": URL, "secret": secret})[0] == 201
        assert Endpoint.objects.get().secrets.get().reveal() == secret

    def test_ignores_what_it_does_not_know(self, curl: Curl) -> None:
        more = {"id": 7, "active": False, "wire_format": "standard", "channels": ["x"], "tenant": "other"}
        status, made = curl.asked("POST", "/webhooks", {**DOCUMENTED, **more})
        assert (status, made["data"]["active"]) == (201, True)
        assert (Endpoint.objects.get().wire_format, Endpoint.objects.get().channels) == ("gateway", [])

    @pytest.mark.parametrize("url", ["http://your-server.com/webhook", "HTTP://10.0.0.1/", "ftp://example.com/"])
    def test_takes_https_only(self, curl: Curl, url: str) -> None:
        refused = refusal(400, "Bad request", "URL must be HTTPS")
        assert curl.asked("POST", "/webhooks", {**DOCUMENTED, "url": url}) == refused
        assert not Endpoint.objects.exists()

    @pytest.mark.parametrize(
        ("body", "error"),
        [
            ({}, "url: This field is required."),
            ({"url": None}, "url: This field may not be null."),
            ({"url": ""}, "url: This field may not be blank."),
            ({"url": 7}, "url: Not a valid string."),
            ({"url": "https://10.0.0.1/"}, "This address is not allowed."),
            ({"url": "your-server.com"}, "Enter a full URL, such as https://example.com/webhooks."),
            ({"url": URL, "secret": 7}, "secret: Not a valid string."),
            ({"url": URL, "events": "message.received"}, 'events: Expected a list of items but got type "str".'),
            ({"url": URL, "events": [{}]}, "events.0: Not a valid string."),
            (
                {"url": URL, "events": ["nobody.knows"]},
                "There is no event type 'nobody.knows'. Look at the list of event types.",
            ),
            ([], "Invalid data. Expected a dictionary, but got list."),
            (b"null", "No data provided"),
        ],
        ids=str,
    )
    def test_says_what_is_wrong(self, curl: Curl, body: Any, error: str) -> None:
        assert curl.asked("POST", "/webhooks", body) == refusal(400, "Bad request", error)
        assert not Endpoint.objects.exists()

    @pytest.mark.parametrize(
        "body",
        [
            b"{",
            b'{"url": NaN}',
            b"\xff\xfe",
            b"[" * 100_000,
            b'{"url": "\\ud800"}',
            b'{"url": "\\u0000"}',
            b'{"url": "https://a.example/", "secret": "\\ud800"}',
            b'{"url": "https://a.example/", "secret": "a\\u0000"}',
            b'{"url": "https://a.example/", "events": ["\\ud800", "\\u0000"]}',
            b'{"url": "https://a.example/", "secret": "' + b"x" * 1025 + b'"}',
            b'{"url": "https://a.example/' + b"x" * 5000 + b'"}',
            b'{"url": ' + b"9" * 5000 + b"}",
        ],
        ids=lambda body: str(body[:40]),
    )
    def test_is_never_confused_by_what_it_gets(self, curl: Curl, body: bytes) -> None:
        status, refused = curl.asked("POST", "/webhooks", body)
        assert (status, refused["status"], refused["code"], refused["message"]) == (400, False, 400, "Bad request")
        assert set(refused) == {"status", "code", "message", "error"}
        assert refused["error"]
        assert not Endpoint.objects.exists()

    @pytest.mark.parametrize("charset", ["zlib", "hex", "rot13", "utf-16", "nobody-knows"])
    def test_reads_json_whatever_charset_is_named(self, curl: Curl, charset: str) -> None:
        headers = {"Content-Type": f"application/json; charset={charset}"}
        assert curl("POST", "/webhooks", DOCUMENTED, **headers).status_code == 201

    def test_takes_json_only(self, curl: Curl) -> None:
        status, refused = curl.asked("POST", "/webhooks", b"url=x", Content_Type="application/x-www-form-urlencoded")
        assert (status, refused["code"], refused["message"]) == (415, 415, "Unsupported Media Type")

    def test_keeps_to_the_plan(self, curl: Curl) -> None:
        Tenant.objects.update(webhooks_enabled=False)
        status, refused = curl.asked("POST", "/webhooks", DOCUMENTED)
        assert (status, refused["status"], refused["code"], refused["message"]) == (403, False, 403, "Forbidden")

    def test_that_the_app_cannot_do_is_the_documented_500(self, curl: Curl, configure: Any) -> None:
        configure(ENCRYPTION_KEYS=[])
        refused = refusal(500, "Internal server error", "Failed to create webhook")
        assert curl.asked("POST", "/webhooks", DOCUMENTED) == refused
        assert not Endpoint.objects.exists()

    def test_that_meets_a_bug_is_the_documented_500(self, curl: Curl, configure: Any) -> None:
        configure(PLAN="tests.acceptance.test_dialect_gateway.broken_plan")
        refused = refusal(500, "Internal server error", "Failed to create webhook")
        assert curl.asked("POST", "/webhooks", DOCUMENTED) == refused


def broken_plan(tenant: Tenant) -> None:
    raise RuntimeError("a bug of the host's")


class TestAnIdempotencyKey:
    def test_makes_one_webhook_and_never_gives_its_secret_again(self, curl: Curl) -> None:
        _, first = curl.asked("POST", "/webhooks", {"url": URL}, Idempotency_Key="a")
        secret = first["data"].pop("secret")
        again = curl("POST", "/webhooks", {"url": URL}, Idempotency_Key="a")
        assert (again.status_code, again.headers["Idempotent-Replayed"], again.json()) == (201, "true", first)
        assert Endpoint.objects.count() == 1
        assert secret not in IdempotencyRecord.objects.get().body

    def test_of_another_request_is_a_conflict(self, curl: Curl) -> None:
        curl.asked("POST", "/webhooks", {"url": URL}, Idempotency_Key="a")
        status, refused = curl.asked("POST", "/webhooks", DOCUMENTED, Idempotency_Key="a")
        assert (status, refused["code"], refused["message"]) == (409, 409, "Conflict")


class TestRead:
    def test_answers_as_documented(self, curl: Curl) -> None:
        made = curl.asked("POST", "/webhooks", DOCUMENTED)[1]["data"]
        assert curl.asked("GET", f"/webhooks/{made['id']}") == (
            200,
            {"status": True, "code": 200, "message": "Webhook retrieved successfully", "data": made},
        )

    def test_lists_the_newest_first(self, curl: Curl) -> None:
        made = [curl.asked("POST", "/webhooks", DOCUMENTED)[1]["data"] for _ in range(3)]
        assert curl.asked("GET", "/webhooks") == (
            200,
            {"status": True, "code": 200, "message": "Webhooks retrieved successfully", "data": made[::-1]},
        )
        assert made[0]["id"] < made[1]["id"] < made[2]["id"]

    def test_of_none_is_an_empty_list(self, curl: Curl) -> None:
        assert curl.asked("GET", "/webhooks")[1]["data"] == []

    def test_tells_when_one_is_switched_off(self, curl: Curl) -> None:
        made = curl.asked("POST", "/webhooks", DOCUMENTED)[1]["data"]
        disable_endpoint(Endpoint.objects.get(), notify=False)
        assert curl.asked("GET", f"/webhooks/{made['id']}")[1]["data"]["active"] is False

    def test_gives_one_from_before_there_were_numbers_its_number_once(self, curl: Curl) -> None:
        rows = [EndpointFactory(tenant=Tenant.objects.get(), wire_format="gateway") for _ in range(3)]
        assert not EndpointNumber.objects.exists()
        shown = curl.asked("GET", "/webhooks")[1]["data"]
        assert [one["id"] for one in shown[::-1]] == [number_endpoints(rows)[row.pk] for row in rows]
        assert curl.asked("GET", "/webhooks")[1]["data"] == shown
        assert curl.asked("GET", f"/webhooks/{shown[0]['id']}")[1]["data"] == shown[0]

    def test_costs_the_same_for_one_and_for_many(self, client: Any, django_assert_num_queries: Any) -> None:
        headers = {"Authorization": key()}
        for count in (1, 4):
            for _ in range(count):
                create_endpoint("acme", url=URL, events=EVENTS, wire_format="gateway")
            client.get("/gateway/webhooks", headers=headers)  # notes the key's use, gives the numbers
            with django_assert_num_queries(4):
                client.get("/gateway/webhooks", headers=headers)


class TestDelete:
    def test_leaves_nothing_to_see_and_its_number_to_nobody(self, curl: Curl) -> None:
        path = f"/webhooks/{curl.asked('POST', '/webhooks', DOCUMENTED)[1]['data']['id']}"
        assert curl.asked("DELETE", path) == (204, None)
        assert curl.asked("GET", path) == NO_SUCH
        assert curl.asked("DELETE", path) == NO_SUCH
        assert curl.asked("GET", "/webhooks")[1]["data"] == []
        Endpoint.objects.all().delete()
        again = curl.asked("POST", "/webhooks", DOCUMENTED)[1]["data"]["id"]
        assert f"/webhooks/{again}" != path


class TestAnId:
    @pytest.mark.parametrize(
        "text",
        ["0", "-1", "1.5", "x", "1e3", "%20", "1%00", "%D9%A1", "%F0%9D%9F%8F", "+1", "01", "9223372036854775807",
         "9223372036854775808", "18446744073709551616", "9" * 200, "wh_0197", "None"],
        ids=lambda text: text[:24],
    )  # fmt: skip
    def test_that_is_none_is_not_found(self, curl: Curl, text: str) -> None:
        curl.asked("POST", "/webhooks", DOCUMENTED)
        assert curl.asked("GET", f"/webhooks/{text}") == NO_SUCH
        assert curl.asked("DELETE", f"/webhooks/{text}") == NO_SUCH
        assert Endpoint.objects.visible().count() == 1

    def test_of_another_tenant_is_not_found(self, curl: Curl, root: str) -> None:
        path = f"/webhooks/{curl.asked('POST', '/webhooks', DOCUMENTED)[1]['data']['id']}"
        other = Curl(root, {"Authorization": key("other")})
        assert other.asked("GET", path) == other.asked("DELETE", path) == NO_SUCH
        assert other.asked("GET", "/webhooks")[1]["data"] == []
        assert curl.asked("GET", path)[0] == 200

    def test_of_another_wire_format_is_not_found(self, curl: Curl) -> None:
        row, _ = create_endpoint("acme", url=URL, events=["*"], wire_format="muchaw")
        number = number_endpoints([row])[row.pk]
        assert curl.asked("GET", f"/webhooks/{number}") == curl.asked("DELETE", f"/webhooks/{number}") == NO_SUCH
        assert curl.asked("GET", "/webhooks")[1]["data"] == []


class TestAuthentication:
    @pytest.mark.parametrize("form", ["{}", "Bearer {}", "bearer  {}", " {} "])
    def test_takes_the_bare_key_and_bearer(self, root: str, form: str) -> None:
        assert Curl(root, {"Authorization": form.format(key()).strip()}).asked("GET", "/webhooks")[0] == 200

    def test_takes_the_apps_own_header(self, root: str) -> None:
        assert Curl(root, {"X-API-Key": key()}).asked("GET", "/webhooks")[0] == 200

    @pytest.mark.parametrize("headers", [{}, {"Authorization": ""}, {"Authorization": "Bearer"}], ids=str)
    def test_that_is_missing_is_asked_for(self, root: str, headers: dict[str, str]) -> None:
        refused = refusal(401, "Unauthorized", "Invalid or missing authentication")
        for method, path in (("POST", "/webhooks"), ("GET", "/webhooks"), ("GET", "/webhooks/1")):
            assert Curl(root, headers).asked(method, path) == refused

    @pytest.mark.parametrize("text", ["wk_unknown", "Bearer wk_unknown", "Basic eDp5", "x" * 5000])
    def test_that_is_bad_is_refused(self, root: str, text: str) -> None:
        refused = refusal(401, "Unauthorized", "Invalid or expired JWT token")
        for method, path in (("POST", "/webhooks"), ("GET", "/webhooks"), ("DELETE", "/webhooks/1")):
            assert Curl(root, {"Authorization": text}).asked(method, path) == refused

    def test_lets_a_key_do_what_it_may(self, root: str) -> None:
        reader = Curl(root, {"Authorization": key(scopes=[Scope.WEBHOOKS_READ])})
        assert reader.asked("GET", "/webhooks")[0] == 200
        status, refused = reader.asked("POST", "/webhooks", DOCUMENTED)
        assert (status, refused["code"], refused["message"]) == (403, 403, "Forbidden")


def test_another_method_is_refused_in_the_same_form(curl: Curl) -> None:
    status, refused = curl.asked("PUT", "/webhooks", DOCUMENTED)
    assert (status, refused["status"], refused["code"], refused["message"]) == (405, False, 405, "Method Not Allowed")
