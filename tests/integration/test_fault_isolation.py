"""Whatever a receiver or a host's code does, the endpoint beside it gets its events, once, and the engine goes on."""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest

from tests import faulty_hosts
from tests.conftest import Configure
from tests.factories import DeliveryFactory, TenantFactory
from tests.faulty_hosts import exit_the_process
from tests.isolation import Scene, the_endpoint_beside_it_is_served
from tests.pipelines import (
    WIRE_FORMATS,
    deliver_until,
    due_delivery,
    endpoint_at,
    eventually,
    pending_event,
    running_engine,
)
from tests.receiver import Receiver
from tests.receiver_behaviours import Close, Drip, Hang, Raw, Reset
from webhooks_app import signals
from webhooks_app.deliveries.resend import resend
from webhooks_app.models import Attempt, Delivery, Endpoint, EndpointQueue, Event, database_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]


# --- responses ---------------------------------------------------------------------------------------------------------


def raw(head: str, body: str = "") -> Raw:
    return Raw(f"HTTP/1.1 {head}\r\n\r\n{body}".encode("latin-1"))


RESPONSES = {
    "Retry-After of a far year": raw(
        "200 OK\r\nRetry-After: Wed, 21 Oct 99999999999999999999 07:28:00 GMT\r\nContent-Length: 0"
    ),
    "Retry-After of a far zone": raw(
        "503 Busy\r\nRetry-After: Wed, 21 Oct 2099 07:28:00 +99999999999999\r\nContent-Length: 0"
    ),
    "Retry-After of many digits": raw("429 Slow\r\nRetry-After: " + "9" * 400 + "\r\nContent-Length: 0"),
    "a header named like a status line": raw("200 OK\r\nHTTP/" + "A" * 300 + ": x\r\nContent-Length: 2", "ok"),
    "a status line inside the headers": raw("200 OK\r\nHTTP/1.1 101 x: y\r\nContent-Length: 2", "ok"),
    "a status of four digits": raw("2000 OK\r\nContent-Length: 0"),
    "NUL and high bytes": raw("500 \x00\xff\r\nX-\xff: \x00\r\nContent-Length: 3", "\x00\xff\x80"),
    "no HTTP": Raw(b"\x00\x01\x02 hello\r\n\r\n"),
    "a body cut short": raw("200 OK\r\nContent-Length: 100", "ok"),
    "dripping headers": Drip("headers"),
    "dripping body": Drip("body"),
    "a reset": Reset(),
    "a close": Close(),
    "a hang": Hang(),
}


def respond(behaviour: Any) -> Scene:
    def scene(receiver: Receiver, stack: ExitStack) -> None:
        receiver.on("/bad", behaviour)
        pending_event(endpoint_at(receiver, "/bad").tenant)

    return scene


# --- hosts -------------------------------------------------------------------------------------------------------------


def wire_format(name: str) -> Scene:
    def scene(receiver: Receiver, stack: ExitStack) -> None:
        endpoint = endpoint_at(receiver, "/bad", wire_format=name)
        for _ in range(5):
            pending_event(endpoint.tenant)

    return scene


def lost_secret(receiver: Receiver, stack: ExitStack) -> None:
    endpoint = endpoint_at(receiver, "/bad")
    endpoint.secrets.all().delete()
    pending_event(endpoint.tenant)


def sealed_under_another_key(receiver: Receiver, stack: ExitStack) -> None:
    endpoint = endpoint_at(receiver, "/bad")
    endpoint.secrets.update(value="v1.nokey.AAAA")
    pending_event(endpoint.tenant)


def no_event_row(receiver: Receiver, stack: ExitStack) -> None:
    delivery = due_delivery(endpoint_at(receiver, "/bad"))
    Event.objects.filter(pk=delivery.event_id).delete()


def malformed_filters(receiver: Receiver, stack: ExitStack) -> None:
    endpoint = endpoint_at(receiver, "/bad")
    Endpoint.objects.filter(pk=endpoint.pk).update(filters=[{"data.n": {"$or": 1}}])
    pending_event(endpoint.tenant)


def data_that_is_no_json(receiver: Receiver, stack: ExitStack) -> None:
    endpoint = endpoint_at(receiver, "/bad", filters={"data.n": 1})
    pending_event(endpoint.tenant, data="{broken")


def receiver_of_a_signal_exits(receiver: Receiver, stack: ExitStack) -> None:
    signals.delivery_succeeded.connect(exit_the_process)
    stack.callback(signals.delivery_succeeded.disconnect, exit_the_process)
    pending_event(endpoint_at(receiver, "/bad").tenant)


def receiver_of_a_signal_hangs(receiver: Receiver, stack: ExitStack) -> None:
    released = threading.Event()

    def hang(**_: object) -> None:
        released.wait(30)

    signals.delivery_succeeded.connect(hang, weak=False)
    stack.callback(signals.delivery_succeeded.disconnect, hang)
    stack.callback(released.set)
    pending_event(endpoint_at(receiver, "/bad").tenant)


HOSTS: dict[str, Scene] = {
    **{f"the wire format {name}": wire_format(name) for name in faulty_hosts.WIRE_FORMATS},
    "a wire format that was removed": wire_format("was_removed"),
    "no secret": lost_secret,
    "a secret that cannot be opened": sealed_under_another_key,
    "an event whose row is gone": no_event_row,
    "filters that are none": malformed_filters,
    "data that is no JSON": data_that_is_no_json,
    "a signal's receiver that exits": receiver_of_a_signal_exits,
    "a signal's receiver that hangs": receiver_of_a_signal_hangs,
}


# --- the proof ---------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["curl", "requests"])
def transport(request: pytest.FixtureRequest, configure: Configure, pipeline: None) -> str:
    if request.param == "curl":
        pytest.importorskip("pycurl")
    configure(
        TRANSPORT=request.param, WIRE_FORMATS={**WIRE_FORMATS, **faulty_hosts.WIRE_FORMATS}, DEFAULT_WIRE_FORMAT="quick"
    )
    return str(request.param)


@pytest.mark.parametrize("behaviour", RESPONSES.values(), ids=RESPONSES)
def test_a_response_costs_nobody_else_anything(receiver: Receiver, transport: str, behaviour: Any) -> None:
    the_endpoint_beside_it_is_served(receiver, respond(behaviour))


@pytest.mark.parametrize("scene", HOSTS.values(), ids=HOSTS)
def test_a_mistake_of_the_host_costs_nobody_else_anything(receiver: Receiver, transport: str, scene: Scene) -> None:
    the_endpoint_beside_it_is_served(receiver, scene)


# --- and afterwards ----------------------------------------------------------------------------------------------------


def test_an_event_is_never_blamed_for_the_hosts_wire_format(receiver: Receiver, configure: Configure) -> None:
    configure(WIRE_FORMATS={**WIRE_FORMATS, **faulty_hosts.WIRE_FORMATS})
    tenant = TenantFactory()
    endpoint_at(receiver, "/bad", wire_format="exits_at_import", tenant=tenant)
    sound = endpoint_at(receiver, "/sound", tenant=tenant)
    event = pending_event(tenant)
    with running_engine():
        receiver.wait_for(1, path="/sound")
        eventually(lambda: Delivery.objects.filter(endpoint=sound, status="succeeded").exists())
    event.refresh_from_db()
    assert event.quarantine_reason == ""
    assert Delivery.objects.get(endpoint__url__endswith="/bad").status == "pending"


def test_a_fault_on_our_side_uses_up_no_retry_and_no_health(receiver: Receiver, configure: Configure) -> None:
    configure(WIRE_FORMATS={**WIRE_FORMATS, **faulty_hosts.WIRE_FORMATS})
    endpoint = endpoint_at(receiver, "/bad", wire_format="envelope_raises")
    pending_event(endpoint.tenant)
    with running_engine():
        eventually(lambda: Attempt.objects.exists())
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.retry_step, delivery.last_outcome) == ("pending", 0, "not_sent")
    assert EndpointQueue.objects.get(pk=endpoint.pk).consecutive_failures == 0


def test_after_a_replay_a_fault_on_our_side_costs_a_minute(receiver: Receiver, configure: Configure) -> None:
    """The attempts before the replay were no faults on our side."""
    configure(WIRE_FORMATS={**WIRE_FORMATS, **faulty_hosts.WIRE_FORMATS})
    endpoint = endpoint_at(receiver, "/bad", wire_format="envelope_raises")
    delivery = DeliveryFactory(endpoint=endpoint, exhausted=True)
    resend(delivery, actor="test")
    deliver_until(lambda: Attempt.objects.exists())
    delivery.refresh_from_db()
    assert (delivery.attempts, delivery.retry_step, delivery.last_outcome) == (11, 0, "not_sent")
    assert delivery.next_attempt_at < database_now("default") + timedelta(minutes=2)


def test_a_filter_of_the_hosts_logging_that_raises_stops_nothing(receiver: Receiver) -> None:
    """The engine has much to log here: a wire format that was removed, and an event that is none."""

    def no_request(record: logging.LogRecord) -> bool:
        raise AttributeError("'LogRecord' object has no attribute 'request'")

    loggers = [
        logging.getLogger(name) for name in list(logging.root.manager.loggerDict) if name.startswith("webhooks_app")
    ]

    def scene(receiver: Receiver, stack: ExitStack) -> None:
        for logger in loggers:
            logger.addFilter(no_request)
            stack.callback(logger.removeFilter, no_request)
        wire_format("was_removed")(receiver, stack)
        data_that_is_no_json(receiver, stack)

    the_endpoint_beside_it_is_served(receiver, scene)


def test_a_handler_of_the_hosts_logging_that_hangs_stops_nothing(receiver: Receiver) -> None:
    released = threading.Event()

    class Hanging(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            released.wait(30)

    def scene(receiver: Receiver, stack: ExitStack) -> None:
        logger, handler = logging.getLogger("webhooks_app"), Hanging()
        logger.addHandler(handler)
        stack.callback(logger.removeHandler, handler)
        stack.callback(released.set)
        wire_format("was_removed")(receiver, stack)
        data_that_is_no_json(receiver, stack)

    the_endpoint_beside_it_is_served(receiver, scene)
