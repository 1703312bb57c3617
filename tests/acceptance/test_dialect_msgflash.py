"""MsgFlash's API, spoken as its document's `curl` lines do, against the running project."""

from __future__ import annotations

import json
import re
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from django.test import Client

from tests.acceptance.dialects import NO_IDS, NO_OBJECTS, Caller, root_of, verdicts
from tests.customer import deliver, statuses
from tests.factories import EndpointFactory
from tests.receiver import Receiver
from webhooks_app import emit
from webhooks_app.models import Endpoint, IdempotencyRecord, Scope, Tenant

pytestmark = pytest.mark.django_db(transaction=True)

WEBHOOKS = "/api/v1/webhooks"
NEW: dict[str, Any] = {
    "url": "https://example.com/webhooks/msgflash",
    "events": ["message.delivered", "message.failed", "message.read"],
}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


root = root_of("msgflash")


@pytest.fixture
def curl(root: str) -> Caller:
    return Caller(root, "x-api-key")


def made(curl: Caller, **changes: Any) -> dict[str, Any]:
    """The inside of the answer to a create."""
    answer = curl("POST", WEBHOOKS, {**NEW, **changes})
    assert answer.status_code == 201, answer.text
    return dict(answer.json()["data"])


def refusal(answer: requests.Response) -> tuple[int, str]:
    """Status and code of an error, which has the documented shape and nothing else."""
    assert answer.headers["Content-Type"] == "application/json"
    assert set(answer.json()) == {"error"}
    assert set(answer.json()["error"]) == {"code", "message"}
    assert answer.json()["error"]["message"]
    return answer.status_code, answer.json()["error"]["code"]


class TestCreate:
    def test_answers_as_documented(self, curl: Caller) -> None:
        answer = curl("POST", WEBHOOKS, NEW)
        assert answer.status_code == 201
        assert answer.headers["Content-Type"] == "application/json"
        assert list(answer.json()) == ["data"]
        data = answer.json()["data"]
        assert list(data) == ["id", "url", "events", "secret", "createdAt"]
        assert (data["url"], data["events"]) == (NEW["url"], NEW["events"])
        assert data["id"] == str(uuid.UUID(data["id"]))
        assert TIME.fullmatch(data["createdAt"])
        assert len(data["secret"]) == 64
        assert Endpoint.objects.get().wire_format == "msgflash"

    def test_takes_every_documented_event_and_ignores_what_it_does_not_know(self, curl: Caller) -> None:
        kinds = ["sent", "delivered", "read", "failed", "received"]
        events = ["instance.connected", "instance.disconnected", *(f"message.{kind}" for kind in kinds)]
        data = made(curl, events=events, secret="mine", wire_format="muchaw", active=False, name={"x": [1]})
        assert data["events"] == events
        assert data["secret"] != "mine"
        assert (Endpoint.objects.get().wire_format, Endpoint.objects.get().status) == ("msgflash", "active")

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"url": None}, "INVALID_FIELD"),
            ({"url": 7}, "INVALID_FIELD"),
            ({"url": ""}, "INVALID_FIELD"),
            ({"url": ["https://example.com/"]}, "INVALID_FIELD"),
            ({"url": "https://example.com/\ud800"}, "INVALID_FIELD"),
            ({"url": "https://example.com/\x00"}, "INVALID_FIELD"),
            ({"url": "http://example.com/"}, "URL_NOT_ALLOWED"),
            ({"url": "ftp://example.com/"}, "URL_NOT_ALLOWED"),
            ({"url": "https://10.0.0.1/"}, "URL_NOT_ALLOWED"),
            ({"url": "https://" + "x" * 3000}, "URL_NOT_ALLOWED"),
            ({"url": "example.com"}, "URL_NOT_ALLOWED"),
            ({"events": None}, "INVALID_FIELD"),
            ({"events": "message.sent"}, "INVALID_FIELD"),
            ({"events": {"message.sent": True}}, "INVALID_FIELD"),
            ({"events": [7]}, "INVALID_FIELD"),
            ({"events": [None]}, "INVALID_FIELD"),
            ({"events": [["message.sent"]]}, "INVALID_FIELD"),
            ({"events": []}, "INVALID_ENDPOINT"),
            ({"events": ["nobody.knows"]}, "INVALID_ENDPOINT"),
            ({"events": [f"message.n{number}" for number in range(51)]}, "INVALID_ENDPOINT"),
        ],
        ids=lambda value: repr(value)[:60],
    )
    def test_refuses_what_is_wrong(self, curl: Caller, change: dict[str, Any], code: str) -> None:
        assert refusal(curl("POST", WEBHOOKS, {**NEW, **change})) == (400, code)
        assert not Endpoint.objects.exists()

    def test_names_the_field_that_is_missing(self, curl: Caller) -> None:
        answer = curl("POST", WEBHOOKS, {"url": NEW["url"]})
        assert refusal(answer) == (400, "INVALID_FIELD")
        assert "events" in answer.json()["error"]["message"]

    def test_takes_fifty_events_and_no_more(self, curl: Caller) -> None:
        events = [f"message.n{number}.*" for number in range(51)]
        assert made(curl, events=events[:50])["events"] == events[:50]
        answer = curl("POST", WEBHOOKS, {**NEW, "events": events})
        assert refusal(answer) == (400, "INVALID_ENDPOINT")
        assert answer.json()["error"]["message"] == "Choose 1 to 50 events; there are 51."

    @pytest.mark.parametrize("kind", NO_OBJECTS)
    def test_refuses_a_body_that_is_none(self, curl: Caller, kind: str) -> None:
        body, content_type = NO_OBJECTS[kind]
        status, _ = refusal(curl.raw("POST", WEBHOOKS, body, {"Content-Type": content_type}))
        assert status in (400, 415)

    def test_takes_plain_http_to_loopback_alone_where_the_settings_allow_it(self, curl: Caller, configure: Any) -> None:
        made(curl, url="http://127.0.0.1:8010/hook")
        configure(ALLOW_HTTP=False)
        assert refusal(curl("POST", WEBHOOKS, {**NEW, "url": "http://127.0.0.1:8010/hook"}))[1] == "URL_NOT_ALLOWED"


class TestThePlan:
    def test_without_webhooks_says_so_in_the_documented_words(self, curl: Caller) -> None:
        Tenant.objects.update(webhooks_enabled=False)
        answer = curl("POST", WEBHOOKS, NEW)
        assert refusal(answer) == (403, "WEBHOOKS_NOT_AVAILABLE_ON_PLAN")
        assert answer.json()["error"]["message"] == "Feature no disponible"

    def test_has_a_limit_that_is_told_in_the_documented_words(self, curl: Caller) -> None:
        Tenant.objects.update(max_endpoints=1)
        first = made(curl)
        answer = curl("POST", WEBHOOKS, NEW)
        assert refusal(answer) == (403, "MAX_WEBHOOK_ENDPOINTS_REACHED")
        assert answer.json()["error"]["message"] == "Limit reached"
        curl("DELETE", f"{WEBHOOKS}/{first['id']}")
        made(curl)


class TestTheSecret:
    def test_is_in_the_answer_that_made_it_and_in_no_other(self, curl: Caller) -> None:
        data = made(curl)
        listed, one = curl("GET", WEBHOOKS), curl("GET", f"{WEBHOOKS}/{data['id']}")
        shown = {name: value for name, value in data.items() if name != "secret"}
        assert (listed.json(), one.json()) == ({"data": [shown]}, {"data": shown})

    def test_is_not_in_an_idempotent_replay_and_is_not_kept_for_one(self, curl: Caller) -> None:
        first = curl("POST", WEBHOOKS, NEW, Idempotency_Key="a").json()["data"]
        again = curl("POST", WEBHOOKS, NEW, Idempotency_Key="a")
        assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
        assert again.json() == {"data": {name: value for name, value in first.items() if name != "secret"}}
        assert "secret" not in IdempotencyRecord.objects.get().body
        assert first["secret"] not in IdempotencyRecord.objects.get().body
        assert Endpoint.objects.count() == 1

    def test_an_idempotency_key_of_another_request_is_a_conflict(self, curl: Caller) -> None:
        curl("POST", WEBHOOKS, NEW, Idempotency_Key="a")
        other = {**NEW, "events": ["message.sent"]}
        assert refusal(curl("POST", WEBHOOKS, other, Idempotency_Key="a")) == (409, "IDEMPOTENCY_CONFLICT")


class TestAWebhook:
    def test_is_listed_newest_first(self, curl: Caller) -> None:
        assert curl("GET", WEBHOOKS).json() == {"data": []}
        ids = [made(curl)["id"] for _ in range(3)]
        assert [one["id"] for one in curl("GET", WEBHOOKS).json()["data"]] == ids[::-1]

    @pytest.mark.parametrize("write", [str, lambda key: f"wh_{key.hex}", lambda key: f"wh_{key}", lambda key: key.hex])
    def test_is_found_and_deleted_by_either_way_to_write_its_id(self, curl: Caller, write: Any) -> None:
        text = write(uuid.UUID(made(curl)["id"]))
        assert curl("GET", f"{WEBHOOKS}/{text}").status_code == 200
        answer = curl("DELETE", f"{WEBHOOKS}/{text}")
        assert (answer.status_code, answer.content) == (204, b"")
        for method in ("GET", "DELETE"):
            again = curl(method, f"{WEBHOOKS}/{text}")
            assert refusal(again) == (404, "NOT_FOUND")
            assert again.json()["error"]["message"] == "Webhook not found"
        assert curl("GET", WEBHOOKS).json() == {"data": []}

    @pytest.mark.parametrize("text", NO_IDS, ids=lambda text: text[:20])
    def test_is_not_found_by_what_is_no_id_of_one(self, curl: Caller, text: str) -> None:
        for method in ("GET", "DELETE"):
            assert refusal(curl(method, f"{WEBHOOKS}/{text}")) == (404, "NOT_FOUND")

    def test_of_another_customer_or_of_another_product_is_not_there(self, curl: Caller, root: str) -> None:
        others = [made(Caller(root, "x-api-key", "other"))["id"]]
        others += [str(EndpointFactory(tenant=curl.tenant, wire_format=name).pk) for name in ("standard", "muchaw")]
        assert curl("GET", WEBHOOKS).json() == {"data": []}
        for text in others:
            assert refusal(curl("GET", f"{WEBHOOKS}/{text}")) == (404, "NOT_FOUND")
            assert refusal(curl("DELETE", f"{WEBHOOKS}/{text}")) == (404, "NOT_FOUND")
        assert Endpoint.objects.visible().count() == 3

    def test_list_costs_the_same_for_one_and_for_many(self, curl: Caller, django_assert_num_queries: Any) -> None:
        client = Client(headers=curl.headers)
        made(curl)
        for _ in range(2):
            with django_assert_num_queries(3):
                client.get(f"/msgflash{WEBHOOKS}")
            made(curl)


class TestAKey:
    @pytest.mark.parametrize(
        ("headers", "code"),
        [({}, "NOT_AUTHENTICATED"), ({"x-api-key": "msgf_live_your_api_key_here"}, "INVALID_API_KEY")],
    )
    def test_is_needed(self, root: str, headers: dict[str, str], code: str) -> None:
        for method, path in (("GET", WEBHOOKS), ("POST", WEBHOOKS), ("DELETE", f"{WEBHOOKS}/1")):
            answer = requests.request(method, root + path, headers=headers, allow_redirects=False, timeout=10)
            assert refusal(answer) == (401, code)

    def test_needs_the_scope(self, root: str) -> None:
        reader = Caller(root, "x-api-key", scopes=[Scope.WEBHOOKS_READ])
        assert reader("GET", WEBHOOKS).status_code == 200
        assert refusal(reader("POST", WEBHOOKS, NEW)) == (403, "FORBIDDEN")

    def test_has_its_rate(self, curl: Caller, configure: Any) -> None:
        configure(API={"RATE_LIMIT": "1/minute"})
        curl("GET", WEBHOOKS)
        answer = curl("GET", WEBHOOKS)
        assert refusal(answer) == (429, "TOO_MANY_REQUESTS")
        assert int(answer.headers["Retry-After"]) > 0


def test_other_verbs_are_refused_in_the_same_shape(curl: Caller) -> None:
    for method, path in (
        ("PUT", WEBHOOKS),
        ("DELETE", WEBHOOKS),
        ("PATCH", f"{WEBHOOKS}/1"),
        ("POST", f"{WEBHOOKS}/1"),
    ):
        assert refusal(curl(method, path, {})) == (405, "METHOD_NOT_ALLOWED")


def test_nothing_is_redirected(curl: Caller) -> None:
    for path in (WEBHOOKS, f"{WEBHOOKS}/", f"{WEBHOOKS}/1"):
        assert curl("POST", path, NEW).status_code in (201, 404, 405)


@pytest.mark.parametrize("language", ["node", "python"])
def test_what_is_sent_then_is_as_documented_and_the_documents_code_accepts_it(
    curl: Caller, receiver: Receiver, language: str
) -> None:
    webhook = made(curl, url=receiver.url("/webhooks/msgflash"))
    data = {
        "instanceId": "inst_uuid",
        "messageId": "msg_uuid",
        "providerMessageId": "BAE5D1A2B3C4D5E6",
        "to": "+33612345678",
    }
    moment = datetime(2026, 4, 1, 10, 0, 5, tzinfo=UTC)
    for kind in ("delivered", "sent", "read"):  # the second one it did not ask for
        emit(f"message.{kind}", data, tenant="acme", occurred_at=moment)
    deliver()
    assert statuses() == {"succeeded"}
    received = sorted(receiver.requests, key=lambda one: one.headers["x-msgflash-event"])
    assert [one.headers["x-msgflash-event"] for one in received] == ["message.delivered", "message.read"]
    names = {name for name, _ in received[0].header_lines}
    assert {"Content-Type", "X-MsgFlash-Signature", "X-MsgFlash-Event"} <= names
    assert (received[0].method, received[0].path) == ("POST", "/webhooks/msgflash")
    assert json.loads(received[0].body) == {
        "event": "message.delivered",
        **data,
        "status": "delivered",
        "timestamp": "2026-04-01T10:00:05.000Z",
    }
    assert verdicts(language, "msgflash", webhook["secret"], received) == [True, True]
    assert verdicts(language, "msgflash", "0" * 64, received) == [False, False]


def test_a_deleted_webhook_gets_nothing_more(curl: Caller, receiver: Receiver) -> None:
    webhook = made(curl, url=receiver.url())
    curl("DELETE", f"{WEBHOOKS}/{webhook['id']}")
    emit("message.read", {"messageId": "msg_1"}, tenant="acme")
    deliver()
    assert not receiver.requests
