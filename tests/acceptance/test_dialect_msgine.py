"""MsGine's message API, simulated in the project: a message's events go where its `callbackUrl` says, as documented."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from tests.acceptance.dialects import Curl, key, root_of
from tests.acceptance.receivers.harness import RECEIVERS, receiver
from tests.customer import deliver, statuses
from tests.receiver import Receiver
from webhooks_app.endpoints.service import create_endpoint
from webhooks_app.models import Event, Tenant

pytestmark = pytest.mark.django_db(transaction=True)

MESSAGE = {"to": "+256701521269", "message": "Your verification code is 123456"}
Send = Callable[..., requests.Response]


root = root_of("msgine")


@pytest.fixture
def token() -> str:
    return key("ezra")


@pytest.fixture
def send(root: str, token: str) -> Send:
    def send(body: Any, bearer: str = token) -> requests.Response:
        return Curl(root, {"Authorization": f"Bearer {bearer}"})("POST", "/api/v1/messages/sms", body)

    return send


@pytest.fixture
def loopback() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def account_secret(live_server: Any, token: str) -> str:
    answer = Curl(f"{live_server.url}/api/v1", {"Authorization": f"Bearer {token}"})("POST", "/account-secret", {})
    assert answer.status_code == 200
    return str(answer.json()["secret"])


@pytest.mark.parametrize(("language", "system"), [one for one in RECEIVERS if one[1].startswith("msgine")])
def test_the_callback_gets_all_events_of_its_message_and_the_documents_code_accepts_them(
    send: Send, live_server: Any, token: str, language: str, system: str
) -> None:
    Tenant.objects.update(wire_format="msgine")  # before its first secret is made: it decides how that looks
    with receiver(language, system, account_secret(live_server, token)) as running:
        answer = send({**MESSAGE, "callbackUrl": running.url})
        assert answer.status_code == 201
        assert set(answer.json()) == {"id", "status", "to", "from", "sid"}
        deliver()
        assert statuses() == {"succeeded"}
        assert [verdict.verified for verdict in running.wait_for(2)] == [True, True]


def test_the_body_has_the_documented_fields(send: Send, loopback: Receiver) -> None:
    message = send({**MESSAGE, "callbackUrl": loopback.url("/")}).json()
    deliver()
    sent, delivered = (json.loads(request.body) for request in loopback.requests)
    assert list(delivered) == ["id", "event", "status", "to", "from", "timestamp", "messageId", "sid"]
    assert (sent["event"], delivered["event"], delivered["status"]) == (
        "message.sent",
        "message.delivered",
        "delivered",
    )
    assert delivered["id"] == delivered["messageId"] == message["id"]


def test_a_failed_message_says_why(send: Send, loopback: Receiver) -> None:
    send({**MESSAGE, "to": "+256701520000", "callbackUrl": loopback.url("/")})
    deliver()
    body = json.loads(loopback.requests[-1].body)
    assert (body["event"], body["status"]) == ("message.failed", "failed")
    assert (body["failureReason"], body["errorCode"]) == ("Invalid phone number", "invalid_phone_number")


def test_the_callback_overrides_the_accounts_webhook(send: Send, loopback: Receiver) -> None:
    create_endpoint("ezra", url=loopback.url("/global"), events=["message.delivered"], wire_format="msgine")
    send({**MESSAGE, "callbackUrl": loopback.url("/this-one")})
    deliver()
    assert {request.path for request in loopback.requests} == {"/this-one"}
    send(MESSAGE)
    deliver()
    assert [request.path for request in loopback.requests[2:]] == ["/global"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({**MESSAGE, "callbackUrl": "http://example.com/hook"}, 400, "URL_NOT_ALLOWED"),
        ({**MESSAGE, "callbackUrl": "https://10.0.0.1/"}, 400, "URL_NOT_ALLOWED"),
        ({**MESSAGE, "callbackUrl": 7}, 400, "URL_NOT_ALLOWED"),
        ({"message": "no recipient"}, 400, "INVALID_FIELD"),
        ({**MESSAGE, "to": "me"}, 400, "INVALID_FIELD"),
        ([], 400, "INVALID_FIELD"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said(send: Send, body: Any, status: int, code: str) -> None:
    answer = send(body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["error"]
    assert not Event.objects.exists()


def test_a_token_is_needed(send: Send) -> None:
    answer = send(MESSAGE, bearer="none")
    assert (answer.status_code, answer.json()["code"]) == (401, "INVALID_API_KEY")


def test_a_message_that_is_asked_for_twice_under_one_idempotency_key_is_sent_once(root: str, token: str) -> None:
    curl = Curl(root, {"Authorization": f"Bearer {token}"})
    first, again = (curl("POST", "/api/v1/messages/sms", MESSAGE, Idempotency_Key="a") for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert Event.objects.count() == 2, "sent and delivered"
