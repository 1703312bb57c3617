"""Whatever one delivery does, the endpoint beside it gets its events, once, and the engine goes on."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from tests import faulty_hosts
from tests.conftest import Configure
from tests.factories import DeliveryFactory, EndpointFactory, TenantFactory
from tests.faulty_hosts import exit_the_process
from tests.pipelines import (
    WIRE_FORMATS,
    deliver_until,
    due_delivery,
    endpoint_at,
    eventually,
    pending_event,
    running_engine,
)
from tests.receiver import Close, Drip, Hang, Raw, Receiver, Reset
from tests.refused_rows import ignored, refused
from webhooks_app import emit, signals
from webhooks_app.db import write
from webhooks_app.deliveries.resend import resend
from webhooks_app.endpoints.status import pause_endpoint
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.held_events import HeldEvents
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.quarantine import Quarantine
from webhooks_app.models import (
    Attempt,
    Delivery,
    Endpoint,
    EndpointQueue,
    Engine,
    Event,
    HourlyStat,
    Tenant,
    database_now,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]

EVENTS = 4
Scene = Callable[[Receiver, ExitStack], object]


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


# --- rows --------------------------------------------------------------------------------------------------------------


def trigger(table: str, column: str, moment: str = "INSERT") -> Scene:
    def scene(receiver: Receiver, stack: ExitStack) -> None:
        endpoint = endpoint_at(receiver, "/bad")
        event = pending_event(endpoint.tenant)
        key = event.pk if column in ("event_id", "id") else endpoint.pk
        stack.enter_context(refused(f"webhooks_app_{table}", column, key, moment))

    return scene


def tenant_that_the_database_refuses(receiver: Receiver, stack: ExitStack) -> None:
    emit("test.happened", {}, tenant="gone")
    stack.enter_context(refused("webhooks_app_tenant", "id", Tenant.id_for("gone")))


def infinite(model: Any, field: str) -> Scene:
    """Somebody has written a time into the row that Python cannot read."""

    def scene(receiver: Receiver, stack: ExitStack) -> None:
        endpoint = endpoint_at(receiver, "/bad", filters={"data": 1} if model is Event else {})
        due_delivery(endpoint)
        pending_event(endpoint.tenant)
        time = "'infinity'" if connection.vendor == "postgresql" else "'a while ago'"
        column = {Endpoint: "id", Event: "tenant_id"}.get(model, "endpoint_id")
        key = endpoint.tenant_id if model is Event else endpoint.pk
        with connection.cursor() as cursor:
            adapted = key if connection.vendor == "postgresql" else key.hex
            table = model._meta.db_table
            cursor.execute(f"UPDATE {table} SET {field} = {time} WHERE {column} = %s", [adapted])

        def mend() -> None:
            model.objects.filter(**{column: key}).update(**{field: database_now("default")})

        stack.callback(mend)

    return scene


ROWS: dict[str, Scene] = {
    "an endpoint that cannot be read": infinite(Endpoint, "status_changed_at"),
    "a queue that cannot be read": infinite(EndpointQueue, "last_failure_at"),
    "a delivery that cannot be read": infinite(Delivery, "expires_at"),
    "an event that cannot be read": infinite(Event, "occurred_at"),
    "a pending event that cannot be read": infinite(Event, "created_at"),
    "an event whose deliveries the database refuses": trigger("delivery", "event_id"),
    "an attempt that the database refuses": trigger("attempt", "endpoint_id"),
    "a delivery that the database does not settle": trigger("delivery", "endpoint_id", "UPDATE"),
    "an event that the database does not let anybody change": trigger("event", "id", "UPDATE"),
    "a queue that the database does not let anybody change": trigger("endpointqueue", "endpoint_id", "UPDATE"),
    "statistics that the database refuses": trigger("hourlystat", "endpoint_id"),
    "a tenant that the database refuses": tenant_that_the_database_refuses,
}


# --- locks (of other transactions, which SQLite does not have) ---------------------------------------------------------


def held_open(work: Callable[[], object], stack: ExitStack) -> None:
    """Do this in a transaction that stays open until the end of the test."""
    begun, done = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                work()
                begun.set()
                done.wait(60)
        finally:
            connection.close()

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    assert begun.wait(10)
    stack.callback(thread.join, 10)
    stack.callback(done.set)


def locked_queue(receiver: Receiver, stack: ExitStack) -> None:
    endpoint = endpoint_at(receiver, "/bad")
    pending_event(endpoint.tenant)
    held_open(lambda: list(EndpointQueue.objects.filter(pk=endpoint.pk).select_for_update()), stack)


def paused_in_a_request(receiver: Receiver, stack: ExitStack) -> None:
    endpoint = endpoint_at(receiver, "/bad")
    pending_event(endpoint.tenant)
    held_open(lambda: pause_endpoint(endpoint), stack)


def locked_queue_of_a_fifo_endpoint(receiver: Receiver, stack: ExitStack) -> None:
    endpoint = endpoint_at(receiver, "/bad", fifo=True)
    pending_event(endpoint.tenant)
    held_open(lambda: list(EndpointQueue.objects.filter(pk=endpoint.pk).select_for_update()), stack)


def tenant_in_an_open_transaction(receiver: Receiver, stack: ExitStack) -> None:
    emit("test.happened", {}, tenant="signing up")
    held_open(lambda: Tenant(uid="signing up").save(force_insert=True), stack)


def locked_deliveries(receiver: Receiver, stack: ExitStack) -> None:
    deliveries = [due_delivery(endpoint_at(receiver, "/bad")).pk for _ in range(3)]
    held_open(lambda: list(Delivery.objects.filter(pk__in=deliveries).select_for_update()), stack)


def locked_endpoint_that_is_to_be_disabled(receiver: Receiver, stack: ExitStack) -> None:
    receiver.on("/bad", 410)
    endpoint = endpoint_at(receiver, "/bad")
    pending_event(endpoint.tenant)
    held_open(lambda: list(Endpoint.objects.filter(pk=endpoint.pk).select_for_update()), stack)


def locked_endpoint(receiver: Receiver, stack: ExitStack) -> None:
    endpoint = endpoint_at(receiver, "/bad", wire_format="plain")
    receiver.on("/bad", [500, 200])
    for _ in range(3):
        pending_event(endpoint.tenant)
    held_open(lambda: list(Endpoint.objects.filter(pk=endpoint.pk).select_for_update()), stack)


def endpoint_deleted_by_hand(receiver: Receiver, stack: ExitStack) -> None:
    endpoint = endpoint_at(receiver, "/bad")
    pending_event(endpoint.tenant)

    def delete() -> None:
        with connection.cursor() as cursor:
            for table in ("subscription", "secret"):
                cursor.execute(f"DELETE FROM webhooks_app_{table} WHERE endpoint_id = %s", [endpoint.pk])
            cursor.execute("DELETE FROM webhooks_app_endpoint WHERE id = %s", [endpoint.pk])

    held_open(delete, stack)


def locked_statistics(receiver: Receiver, stack: ExitStack) -> None:
    endpoint = endpoint_at(receiver, "/bad")
    hour = database_now("default").replace(minute=0, second=0, microsecond=0)
    HourlyStat.objects.create(endpoint_id=endpoint.pk, hour=hour)
    held_open(lambda: list(HourlyStat.objects.select_for_update()), stack)
    for _ in range(20):
        pending_event(endpoint.tenant)


LOCKS: dict[str, Scene] = {
    "locked statistics": locked_statistics,
    "a locked endpoint": locked_endpoint,
    "an endpoint that is deleted by hand": endpoint_deleted_by_hand,
    "a locked queue": locked_queue,
    "an endpoint paused in an open request": paused_in_a_request,
    "a locked queue of a FIFO endpoint": locked_queue_of_a_fifo_endpoint,
    "a tenant that is being created": tenant_in_an_open_transaction,
    "locked deliveries": locked_deliveries,
    "a locked endpoint that is to be disabled": locked_endpoint_that_is_to_be_disabled,
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


def the_endpoint_beside_it_is_served(receiver: Receiver, scene: Scene) -> None:
    """The bad one first: it is due earlier. Then events come one after the other, as they do."""
    good = endpoint_at(receiver, "/good", wire_format="slow")
    with ExitStack() as stack:
        scene(receiver, stack)
        with running_engine():
            engine = eventually(lambda: Engine.objects.first())
            for number in range(1, EVENTS + 1):
                pending_event(good.tenant)
                receiver.wait_for(number, path="/good")
            eventually(lambda: Attempt.objects.filter(endpoint_id=good.pk, outcome="succeeded").count() == EVENTS)
            assert Engine.objects.get() == engine, "it is the same engine that began"
            stack.close()
    ids = Counter(request.headers["webhook-id"] for request in receiver.requests if request.path == "/good")
    assert len(ids) == EVENTS
    assert set(ids.values()) == {1}
    assert not EndpointQueue.objects.filter(holder_id__isnull=False).exists()
    assert not EndpointQueue.objects.filter(crash_takeovers__gt=0).exists()


@pytest.mark.parametrize("behaviour", RESPONSES.values(), ids=RESPONSES)
def test_a_response_costs_nobody_else_anything(receiver: Receiver, transport: str, behaviour: Any) -> None:
    the_endpoint_beside_it_is_served(receiver, respond(behaviour))


@pytest.mark.parametrize("scene", HOSTS.values(), ids=HOSTS)
def test_a_mistake_of_the_host_costs_nobody_else_anything(receiver: Receiver, transport: str, scene: Scene) -> None:
    the_endpoint_beside_it_is_served(receiver, scene)


@pytest.mark.parametrize("scene", ROWS.values(), ids=ROWS)
def test_a_row_costs_nobody_else_anything(receiver: Receiver, scene: Scene) -> None:
    the_endpoint_beside_it_is_served(receiver, scene)


@pytest.mark.postgres
@pytest.mark.parametrize("scene", LOCKS.values(), ids=LOCKS)
def test_a_lock_costs_nobody_else_anything(receiver: Receiver, scene: Scene) -> None:
    the_endpoint_beside_it_is_served(receiver, scene)


# --- and afterwards ----------------------------------------------------------------------------------------------------


@pytest.mark.postgres
@pytest.mark.parametrize(
    "name", ["a locked queue", "a locked queue of a FIFO endpoint", "locked deliveries", "locked statistics"]
)
def test_what_waited_for_a_lock_is_delivered_once_it_is_gone(receiver: Receiver, name: str) -> None:
    with ExitStack() as stack, running_engine():
        LOCKS[name](receiver, stack)
        good = endpoint_at(receiver, "/good", wire_format="slow")
        pending_event(good.tenant)
        receiver.wait_for(1, path="/good")
        stack.close()
        eventually(lambda: not Delivery.objects.exclude(status="succeeded").exists() and Delivery.objects.count() > 1)
    ids = Counter(request.headers["webhook-id"] for request in receiver.requests)
    assert set(ids.values()) == {1}


def test_a_delivery_that_the_database_silently_leaves_as_it_is_is_not_sent_again_and_again(receiver: Receiver) -> None:
    """A trigger of the host's that forgets to return the row; it was sent some thirty times a second."""
    endpoint = endpoint_at(receiver, "/bad")
    due_delivery(endpoint)
    with ignored("webhooks_app_delivery", "endpoint_id", endpoint.pk, "UPDATE"), running_engine():
        receiver.wait_for(1)
        eventually(lambda: EndpointQueue.objects.get(pk=endpoint.pk).not_before > database_now("default"))
        time.sleep(1.0)
        assert len(receiver.requests) == 1


def test_a_column_that_this_version_does_not_know_costs_no_event(receiver: Receiver) -> None:
    """The migration of the next version comes before its code: the event waits, and is not quarantined."""
    event = pending_event(endpoint_at(receiver).tenant)
    with pytest.raises(IntegrityError) as refusal:
        Delivery.objects.create(
            event=event, endpoint_id=None, tenant_id=event.tenant_id, next_attempt_at=event.created_at
        )
    options = EngineOptions(quarantine_after=0.0)
    quarantine = Quarantine("default", options, FaultLog(), HeldEvents(), lambda send: send())
    assert quarantine.put_aside(event, refusal.value, database_now("default")).events == 0
    assert Event.objects.pending().get() == event


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


def test_results_behind_one_that_cannot_be_recorded_are_recorded(receiver: Receiver) -> None:
    """Fifty results in one batch, of which the database refuses one delivery's."""
    bad, tenant = endpoint_at(receiver, "/bad"), TenantFactory()
    endpoint_at(receiver, "/good", tenant=tenant)
    with refused("webhooks_app_delivery", "endpoint_id", bad.pk, "UPDATE"):
        pending_event(bad.tenant)
        for _ in range(50):
            pending_event(tenant)
        with running_engine():
            eventually(lambda: Delivery.objects.filter(status="succeeded").count() == 50)
    assert Attempt.objects.exclude(endpoint_id=bad.pk).count() == 50
    assert EndpointQueue.objects.get(pk=bad.pk).not_before > Event.objects.latest("pk").created_at


@pytest.mark.postgres
def test_a_lock_timeout_inside_copy_loses_no_result(receiver: Receiver) -> None:
    """The host's migration has locked the table of attempts for a moment."""
    endpoint = EndpointFactory(url=receiver.url("/hook"), wire_format="quick")
    with running_engine():
        with write("default"), connection.cursor() as cursor:
            cursor.execute("LOCK TABLE webhooks_app_attempt IN ACCESS EXCLUSIVE MODE")
            events = [pending_event_elsewhere(endpoint) for _ in range(5)]
            receiver.wait_for(5)
        eventually(lambda: Attempt.objects.count() == 5)
        assert Engine.objects.count() == 1
    assert len(receiver.requests) == 5
    assert len(events) == 5


def pending_event_elsewhere(endpoint: Endpoint) -> Any:
    """An event committed by another connection than this thread's."""
    from tests.pipelines import InThread

    return InThread(lambda: pending_event(endpoint.tenant)).result()


@pytest.mark.postgres
def test_a_lock_on_the_engines_own_row_stops_nothing(receiver: Receiver, configure: Configure) -> None:
    configure(HEARTBEAT_SECONDS=3.0)
    good = endpoint_at(receiver, "/good", wire_format="slow")
    with ExitStack() as stack, running_engine():
        engine = eventually(lambda: Engine.objects.first())
        held_open(lambda: list(Engine.objects.select_for_update()), stack)
        eventually(lambda: Engine.objects.exclude(pk=engine.pk).exists())
        for number in range(1, EVENTS + 1):
            pending_event(good.tenant)
            receiver.wait_for(number, path="/good")
        eventually(lambda: Delivery.objects.filter(status="succeeded").count() == EVENTS)
        stack.close()
        eventually(lambda: not Engine.objects.filter(pk=engine.pk).exists())
    assert len(receiver.requests) == EVENTS


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
