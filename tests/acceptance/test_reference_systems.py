"""The systems whose customers must notice nothing: what the real engine sends is what their documents promise.

`test_receivers.py` holds each receiver against the wire formats; here an event goes the whole way, from `emit` to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.utils import timezone

from tests.acceptance.receivers.harness import RECEIVERS, receiver
from tests.acceptance.test_receivers import PAYLOADS, made_up
from tests.customer import attempts, deliver, make_due, statuses, the_delivery
from tests.receiver import Receiver
from tests.receiver_behaviours import Hang, Received
from webhooks_app import emit, registry
from webhooks_app.core.retry import STANDARD_DELAYS
from webhooks_app.endpoints.secrets import rotate_secret
from webhooks_app.endpoints.service import create_endpoint
from webhooks_app.models import Delivery, Endpoint, EndpointStatus, Tenant
from webhooks_app.notifications.send import send_notifications
from webhooks_app.wire_formats import get_wire_format

pytestmark = pytest.mark.django_db(transaction=True)

SYSTEMS = ("msgflash", "msgine", "messages_dev", "muchaw", "gateway")
#: Long enough for all, and a good one for those that read it as base64 too.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MOMENT = datetime(2026, 4, 1, 10, 0, 5, 120_000, tzinfo=UTC)


def minutes(*values: float) -> tuple[timedelta, ...]:
    return tuple(timedelta(minutes=value) for value in values)


#: The waits after each request but the last, and by what share they may differ.
SCHEDULES = {
    "msgflash": (minutes(1, 2, 4, 8), 0.0),
    "msgine": (minutes(1, 5, 15, 60, 360), 0.0),
    "muchaw": (minutes(0.5, 5, 30), 0.1),
    "messages_dev": (STANDARD_DELAYS, 0.2),
    "gateway": (STANDARD_DELAYS, 0.2),
}


@pytest.fixture(autouse=True)
def _catalogue() -> Iterator[None]:
    """Every type that the systems document, and none of the sample project's with their schemas."""
    before = list(registry)
    registry.unregister([type_.name for type_ in before])
    names = {type_.name: type_ for name in SYSTEMS for type_ in get_wire_format(name).event_types}
    registry.register(*names.values())
    yield
    registry.unregister(names)
    registry.register(*before)


@pytest.fixture
def loopback() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def subscribe(wire_format: str, url: str, **options: Any) -> tuple[Endpoint, str]:
    """Some systems take https:// only, and the receivers here speak plain HTTP: their URL is put in afterwards."""
    secure = url.replace("http://", "https://")
    endpoint, secret = create_endpoint("customer", url=secure, events=["*"], wire_format=wire_format, **options)
    Endpoint.objects.filter(pk=endpoint.pk).update(url=url)
    return endpoint, secret


def send(type_: str, data: Any, **options: Any) -> None:
    emit(type_, data, tenant="customer", occurred_at=MOMENT, **options)


def sent_by(system: str, type_: str, data: Any, loopback: Receiver) -> Received:
    """The one request of one event."""
    subscribe(system, loopback.url())
    send(type_, data)
    deliver()
    [request] = loopback.requests
    return request


# --- verification as documented ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("language", "system"), RECEIVERS, ids=[f"{system} in {lang}" for lang, system in RECEIVERS])
def test_a_customers_receiver_accepts_what_the_engine_sends(language: str, system: str) -> None:
    wire_format = get_wire_format(system.partition("-")[0])
    types = [type_.name for type_ in wire_format.event_types] or ["message.sent"]
    with receiver(language, system, SECRET) as running:
        subscribe(wire_format.name, running.url, secret=SECRET)
        data = [*PAYLOADS.values(), *made_up(25)]
        for number, one in enumerate(data):
            send(types[number % len(types)], one)
        deliver()
        verdicts = running.wait_for(len(data))
    assert statuses() == {"succeeded"}
    assert len(verdicts) == len(data)
    assert all(verdict.verified for verdict in verdicts)


@pytest.mark.parametrize("system", [*SYSTEMS, "standard"])
def test_the_secret_that_the_app_made_is_the_one_that_verifies(system: str) -> None:
    endpoint, secret = subscribe(system, "http://127.0.0.1/later")
    with receiver("python", system, secret) as running:
        Endpoint.objects.filter(pk=endpoint.pk).update(url=running.url)
        send("message.sent", {"id": "msg_1"})
        deliver()
        assert running.wait_for(1)[0].verified


def test_a_receiver_with_another_secret_refuses_and_the_delivery_waits_for_its_retry() -> None:
    with receiver("node", "msgflash", "not the secret of this endpoint") as running:
        subscribe("msgflash", running.url)
        send("message.sent", {"messageId": "msg_1"})
        deliver()
        assert running.wait_for(1)[0].status == 401
    assert (the_delivery().status, the_delivery().last_status) == ("pending", 401)


def test_a_rotated_secret_reaches_a_receiver_that_was_changed_over_already() -> None:
    secret = "whsec_0123456789abcdef0123456789abcdef"
    with receiver("node", "muchaw", secret) as running:
        endpoint, _ = subscribe("muchaw", running.url)
        rotate_secret(endpoint, secret=secret)
        send("message.sent", {"id": "msg_1"})
        deliver()
        assert [verdict.verified for verdict in running.wait_for(2)] == [False, True]
    assert (the_delivery().status, the_delivery().attempts) == ("succeeded", 1)


def test_a_callback_url_of_one_message_is_verified_with_the_accounts_secret() -> None:
    tenant = Tenant.objects.create(uid="customer", wire_format="msgine")
    secret = rotate_secret(tenant).text
    with receiver("node", "msgine", secret) as running:
        send("message.delivered", {"messageId": "msg_1", "to": "+256701521269"}, callback_url=running.url)
        deliver()
        [verdict] = running.wait_for(1)
    assert verdict.verified
    assert json.loads(verdict.body)["event"] == "message.delivered"


# --- headers and bodies as documented ---------------------------------------------------------------------------------


def test_msgflash_is_flat_and_names_its_event_in_a_header(loopback: Receiver) -> None:
    data = {"instanceId": "inst_1", "messageId": "msg_1", "providerMessageId": "BAE5D1", "to": "+33612345678"}
    request = sent_by("msgflash", "message.delivered", data, loopback)
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-msgflash-event"] == "message.delivered"
    assert request.headers["x-msgflash-signature"].startswith("sha256=")
    assert list(json.loads(request.body).items()) == [
        ("event", "message.delivered"),
        ("instanceId", "inst_1"),
        ("messageId", "msg_1"),
        ("providerMessageId", "BAE5D1"),
        ("to", "+33612345678"),
        ("status", "delivered"),
        ("timestamp", "2026-04-01T10:00:05.120Z"),
    ]


def test_msgine_is_flat_and_says_why_a_message_failed(loopback: Receiver) -> None:
    data = {"messageId": "msg_1", "to": "+256701521269", "from": "MyApp", "errorCode": "invalid_phone_number"}
    request = sent_by("msgine", "message.failed", data, loopback)
    assert len(request.headers["x-msgine-signature"]) == 64
    assert json.loads(request.body) == {
        "id": "msg_1",
        "event": "message.failed",
        "status": "failed",
        "to": "+256701521269",
        "from": "MyApp",
        "timestamp": "2026-04-01T10:00:05Z",
        "messageId": "msg_1",
        "failureReason": "invalid_phone_number",
        "errorCode": "invalid_phone_number",
    }


def test_messages_dev_is_nested_and_counts_milliseconds(loopback: Receiver) -> None:
    data = {"object": "message", "id": "msg_1", "is_from_me": False, "sent_at": 1710000000000}
    request = sent_by("messages_dev", "message.received", data, loopback)
    assert len(request.headers["x-webhook-signature"]) == 64
    assert list(json.loads(request.body).items()) == [
        ("event", "message.received"),
        ("data", data),
        ("timestamp", 1775037605120),
    ]


def test_muchaw_is_nested_with_the_time_before_the_data(loopback: Receiver) -> None:
    data = {"id": "msg_1", "numberId": "clx", "body": {"body": "Hello!"}, "unknown": None}
    request = sent_by("muchaw", "message.received", data, loopback)
    assert request.headers["x-muchaw-signature"].startswith("sha256=")
    assert list(json.loads(request.body).items()) == [
        ("event", "message.received"),
        ("timestamp", "2026-04-01T10:00:05.120Z"),
        ("data", {"id": "msg_1", "numberId": "clx", "body": {"body": "Hello!"}}),
    ]


def test_the_gateway_follows_standard_webhooks(loopback: Receiver) -> None:
    request = sent_by("gateway", "connection.connected", {"id": 1}, loopback)
    assert {"webhook-id", "webhook-timestamp", "webhook-signature"} <= set(request.headers)
    assert list(json.loads(request.body)) == ["type", "timestamp", "data"]


@pytest.mark.parametrize(("system", "channel"), [("muchaw", "number:clx1"), ("messages_dev", "line:+15551234567")])
def test_an_endpoint_scoped_to_a_number_or_line_gets_that_ones_events_only(system, channel, loopback) -> None:
    subscribe(system, loopback.url("/scoped"), channels=[channel])
    subscribe(system, loopback.url("/all"))
    send("message.received", {"id": "mine"}, channels=[channel])
    send("message.received", {"id": "other"}, channels=[channel + "0"])
    deliver()
    scoped = [json.loads(request.body)["data"]["id"] for request in loopback.requests if request.path == "/scoped"]
    assert scoped == ["mine"]
    assert len(loopback.requests) == 3


# --- patience as documented -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_failing_receiver_gets_the_documented_number_of_requests_at_the_documented_times(system, loopback) -> None:
    delays, share = SCHEDULES[system]
    loopback.on("/", 500)
    subscribe(system, loopback.url())
    send("message.sent", {"messageId": "msg_1"})
    deliver()
    for delay in delays:
        delivery, last = the_delivery(), attempts()[-1]
        wait = delivery.next_attempt_at - last.started_at - timedelta(milliseconds=last.duration_ms)
        assert abs(wait - delay) <= delay * share + timedelta(seconds=1)
        make_due()
        deliver()
    make_due()
    deliver()
    assert len(loopback.requests) == len(delays) + 1
    assert the_delivery().status == "exhausted"
    assert Endpoint.objects.get().status == EndpointStatus.ACTIVE
    assert len({request.body for request in loopback.requests}) == 1


@pytest.mark.parametrize("system", ["msgflash", "msgine", "muchaw"])
@pytest.mark.parametrize("status", [301, 400, 410, 429, 503])
def test_where_the_document_promises_a_retry_after_every_other_answer_none_is_special(system, status, loopback) -> None:
    loopback.on("/", status=status, headers={"Retry-After": "86400", "Location": loopback.url("/other")})
    subscribe(system, loopback.url())
    for number in range(3):
        send("message.sent", {"messageId": f"msg_{number}"})
    deliver()
    delays, share = SCHEDULES[system]
    assert len(loopback.requests) == 3, "nothing holds the others back"
    assert Endpoint.objects.get().status == EndpointStatus.ACTIVE
    for delivery in Delivery.objects.all():
        assert (delivery.status, delivery.attempts) == ("pending", 1)
        assert delivery.next_attempt_at < timezone.now() + delays[0] * (1 + share) + timedelta(seconds=1)


@pytest.mark.processes
def test_msgine_waits_five_seconds_and_writes_a_letter_when_it_gives_up(loopback: Receiver) -> None:
    Tenant.objects.create(uid="customer", email="customer@example.com")
    subscribe("msgine", loopback.url())
    loopback.on("/", [Hang(), 500])
    send("message.sent", {"messageId": "msg_1"})
    deliver()
    [attempt] = attempts()
    assert attempt.outcome == "timeout"
    assert 4900 <= attempt.duration_ms < 8000
    for _ in range(5):
        make_due()
        deliver()
    assert the_delivery().status == "exhausted"
    assert send_notifications() == 1
    assert mail.outbox[0].to == ["customer@example.com"]


def test_muchaw_deactivates_an_endpoint_after_ten_failures_in_a_row(loopback: Receiver) -> None:
    loopback.on("/", 500)
    subscribe("muchaw", loopback.url())
    for number in range(3):
        send("message.sent", {"id": f"msg_{number}"})
    for _ in range(4):
        deliver()
        make_due()
    assert len(loopback.requests) == 10
    endpoint = Endpoint.objects.get()
    assert (endpoint.status, endpoint.status_reason) == (EndpointStatus.DISABLED, "failures")
