"""The documents' own examples, to the letter; and what they say of receivers that do not answer at all."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.acceptance.dialects import catalogue_of
from tests.customer import attempts, deliver, make_due, statuses
from tests.receiver import Receiver
from tests.receiver_behaviours import Reset
from webhooks_app import emit
from webhooks_app.endpoints.service import create_endpoint
from webhooks_app.models import Endpoint, EndpointStatus
from webhooks_app.wire_formats import get_wire_format

pytestmark = pytest.mark.django_db(transaction=True)

SECOND = datetime(2024, 1, 15, 10, 30, 15, tzinfo=UTC)
#: System, moment, the data of the event, and the body that the document shows.
EXAMPLES: dict[str, tuple[str, datetime, dict[str, Any], str]] = {
    "000 delivered": (
        "msgflash",
        datetime(2026, 4, 1, 10, 0, 5, tzinfo=UTC),
        {
            "instanceId": "inst_uuid",
            "messageId": "msg_uuid",
            "providerMessageId": "BAE5D1A2B3C4D5E6",
            "to": "+33612345678",
        },
        """{"event": "message.delivered", "instanceId": "inst_uuid", "messageId": "msg_uuid",
        "providerMessageId": "BAE5D1A2B3C4D5E6", "to": "+33612345678", "status": "delivered",
        "timestamp": "2026-04-01T10:00:05.000Z"}""",
    ),
    "001 delivered": (
        "msgine",
        SECOND,
        {"messageId": "msg_1234567890", "to": "+256701521269", "from": "MyApp", "sid": "SM1234567890abcdef"},
        """{"id": "msg_1234567890", "event": "message.delivered", "status": "delivered", "to": "+256701521269",
        "from": "MyApp", "timestamp": "2024-01-15T10:30:15Z", "messageId": "msg_1234567890",
        "sid": "SM1234567890abcdef"}""",
    ),
    "001 failed": (
        "msgine",
        SECOND,
        {
            "id": "msg_1234567890",
            "to": "+256701521269",
            "from": "MyApp",
            "failureReason": "Invalid phone number",
            "errorCode": "invalid_phone_number",
        },
        """{"id": "msg_1234567890", "event": "message.failed", "status": "failed", "to": "+256701521269",
        "from": "MyApp", "timestamp": "2024-01-15T10:30:15Z", "failureReason": "Invalid phone number",
        "errorCode": "invalid_phone_number"}""",
    ),
    "002 received": (
        "messages_dev",
        datetime(2024, 3, 9, 16, 0, 0, 123_000, tzinfo=UTC),
        {
            "object": "message",
            "id": "msg_abc123",
            "chat_id": "cht_def456",
            "sender": "+15559876543",
            "text": "Hey there!",
            "is_from_me": False,
            "sent_at": 1710000000000,
        },
        """{"event": "message.received", "data": {"object": "message", "id": "msg_abc123", "chat_id": "cht_def456",
        "sender": "+15559876543", "text": "Hey there!", "is_from_me": false, "sent_at": 1710000000000},
        "timestamp": 1710000000123}""",
    ),
    "003 received": (
        "muchaw",
        datetime(2024, 1, 15, 10, 5, tzinfo=UTC),
        {
            "id": "msg_01j...",
            "numberId": "clxyz123...",
            "direction": "INBOUND",
            "fromNumber": "5511888880000",
            "toNumber": "5511999990000",
            "type": "text",
            "body": {"body": "Hello!"},
            "createdAt": "2024-01-15T10:05:00.000Z",
        },
        """{"event": "message.received", "timestamp": "2024-01-15T10:05:00.000Z", "data": {"id": "msg_01j...",
        "numberId": "clxyz123...", "direction": "INBOUND", "fromNumber": "5511888880000",
        "toNumber": "5511999990000", "type": "text", "body": {"body": "Hello!"},
        "createdAt": "2024-01-15T10:05:00.000Z"}}""",
    ),
}
#: Systems that promise a retry where nobody answers, and the first wait.
FIRST_WAITS = {"msgine": 60.0, "muchaw": 30.0}


@pytest.fixture(autouse=True)
def _catalogue(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[None]:
    parameters = request.node.callspec.params
    system = EXAMPLES[parameters["example"]][0] if "example" in parameters else parameters["system"]
    with catalogue_of(system):
        yield


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_example_is_what_is_sent(example: str, receiver: Receiver) -> None:
    system, moment, data, shown = EXAMPLES[example]
    create_endpoint("acme", url=receiver.url("/hook"), events=["*"], wire_format=system)
    emit(json.loads(shown)["event"], data, tenant="acme", occurred_at=moment)
    deliver()
    [request] = receiver.requests
    assert request.body == json.dumps(json.loads(shown), separators=(",", ":"), ensure_ascii=False).encode()
    assert (request.method, request.path) == ("POST", "/hook")
    assert request.headers["content-type"] == "application/json"


@pytest.mark.parametrize("system", FIRST_WAITS)
@pytest.mark.parametrize("how", ["hangs up", "is not there"])
def test_a_receiver_that_does_not_answer_is_asked_again_as_documented(
    system: str, how: str, receiver: Receiver
) -> None:
    """Three events wait each for itself: no breaker and no throttle holds any of them back."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/" if how == "is not there" else receiver.url("/")
        receiver.on("/", Reset())
        create_endpoint("acme", url=url, events=["*"], wire_format=system)
        for number in range(3):
            emit("message.sent", {"messageId": f"msg_{number}"}, tenant="acme")
        deliver()
    assert statuses() == {"pending"}
    share = get_wire_format(system).retry.jitter
    for attempt in attempts():
        waits = attempt.delivery.next_attempt_at - attempt.started_at - timedelta(milliseconds=attempt.duration_ms)
        wait = FIRST_WAITS[system]
        assert abs(waits - timedelta(seconds=wait)) <= timedelta(seconds=wait * share + 1)
    assert Endpoint.objects.get().status == EndpointStatus.ACTIVE


@pytest.mark.parametrize("system", ["muchaw"])
def test_failures_that_are_not_in_a_row_switch_nothing_off(system: str, receiver: Receiver) -> None:
    receiver.on("/", [500, 500, 500, 200] * 4)
    create_endpoint("acme", url=receiver.url("/"), events=["*"], wire_format=system)
    for number in range(4):
        emit("message.sent", {"id": f"msg_{number}"}, tenant="acme")
        for _ in range(4):
            deliver()
            make_due()
    assert [one.status for one in attempts()] == [500, 500, 500, 200] * 4
    assert statuses() == {"succeeded"}
    assert Endpoint.objects.get().status == EndpointStatus.ACTIVE
