"""The protocol, holding: one engine a queue, known alive by its heartbeat; what happens when it is not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.conftest import Configure
from tests.factories import EngineFactory
from tests.pipelines import (
    Gate,
    deliver_until,
    due_delivery,
    endpoint_at,
    eventually,
    pending_event,
    running_engine,
)
from tests.receiver import Receiver
from webhooks_app.deliveries.resend import cancel_delivery
from webhooks_app.endpoints.status import delete_endpoint, disable_endpoint, pause_endpoint
from webhooks_app.engine import run as engine
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.reaper import release_dead_engines
from webhooks_app.engine.sweep import repair
from webhooks_app.models import Attempt, Delivery, Endpoint, EndpointQueue, Engine, database_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]

HOUR = timedelta(hours=1)


def now() -> datetime:
    return database_now("default")


def holders() -> set[Any]:
    return set(EndpointQueue.objects.values_list("holder_id", flat=True))


class TestTheHolder:
    def test_is_named_while_it_holds_and_not_afterwards(self, receiver: Receiver) -> None:
        gate = Gate()
        receiver.on("/hook", gate)
        pending_event(endpoint_at(receiver, wire_format="slow").tenant)
        with running_engine():
            receiver.wait_for(1)
            assert holders() == {Engine.objects.get().pk}
            gate.open()
            eventually(lambda: holders() == {None})
        assert not Engine.objects.exists()

    def test_alone_sends(self, receiver: Receiver, deliver: Callable[[], Any]) -> None:
        other = EngineFactory(alive_until=now() + HOUR)
        due_delivery(endpoint_at(receiver, queue__holder_id=other.pk))
        deliver()
        assert receiver.requests == []

    def test_never_sends_more_at_once_than_the_endpoint_allows_however_many_engines(self, receiver: Receiver) -> None:
        gates = [Gate() for _ in range(30)]
        receiver.on("/hook", gates)
        endpoint = endpoint_at(receiver, wire_format="slow", max_in_flight=3)
        for _ in range(30):
            pending_event(endpoint.tenant)
        most = 0
        with running_engine(2):
            for gate in gates:
                eventually(lambda gate=gate: gate.waiting)  # type: ignore[misc]
                most = max(most, sum(one.waiting for one in gates))
                gate.open()
        assert most <= 3
        assert len(receiver.requests) == 30


class TestAnEngineTakenForDead:
    def test_goes_on_as_a_new_one_and_lets_go_of_its_queues(
        self, receiver: Receiver, configure: Configure, caplog: Any
    ) -> None:
        configure(HEARTBEAT_SECONDS=9.5)
        gate = Gate()
        receiver.on("/hook", [gate, 200])
        endpoint, other = endpoint_at(receiver, wire_format="slow"), endpoint_at(receiver, "/other", wire_format="slow")
        for _ in range(20):
            pending_event(endpoint.tenant)
        with running_engine():
            receiver.wait_for(1)
            first = bury()
            eventually(lambda: Engine.objects.exclude(pk=first).exists())
            pending_event(other.tenant)
            receiver.wait_for(1, path="/other")
            gate.open()
            eventually(lambda: not Delivery.objects.exclude(status="succeeded").exists())
            eventually(lambda: holders() == {None})
        assert "was taken for dead" in caplog.text
        assert len(receiver.wait_for(21)) <= 22, "what was in flight may come twice, nothing else"
        assert repair() == 0

    def test_lets_go_of_what_it_took_before_it_knew(self, receiver: Receiver, configure: Configure) -> None:
        configure(HEARTBEAT_SECONDS=9.5)
        gate = Gate()
        receiver.on("/hook", gate)
        pending_event(endpoint_at(receiver, wire_format="slow").tenant)
        with running_engine():
            receiver.wait_for(1)
            first = bury()
            due_delivery(endpoint_at(receiver, "/taken", queue__holder_id=first))
            receiver.wait_for(1, path="/taken")
            gate.open()
            eventually(lambda: holders() == {None})

    def test_keeps_to_one_request_at_a_time_where_order_was_promised(
        self, receiver: Receiver, configure: Configure
    ) -> None:
        configure(HEARTBEAT_SECONDS=9.5)
        gate, most = Gate(), 0
        receiver.on("/hook", [gate, 200])
        endpoint = endpoint_at(receiver, wire_format="slow", fifo=True)
        for _ in range(5):
            pending_event(endpoint.tenant)
        with running_engine():
            receiver.wait_for(1)
            first = bury()
            eventually(lambda: Engine.objects.exclude(pk=first).exists())
            time.sleep(0.5)
            most = len(receiver.requests)
            gate.open()
            eventually(lambda: not Delivery.objects.exclude(status="succeeded").exists())
        assert most == 1, "the request of its former self was still in flight"


def bury() -> Any:
    """As a reaper does that has not heard of the engine for too long."""
    living = Engine.objects.get()
    Engine.objects.update(alive_until=now() - timedelta(seconds=1))
    assert release_dead_engines("default", now()).queues >= 1
    assert not Engine.objects.filter(pk=living.pk).exists()
    return living.pk


class TestReadAgain:
    """A held queue is looked at every second at least; what was read ahead for one no longer ours is dropped."""

    @pytest.fixture
    def gate(self, receiver: Receiver) -> Gate:
        gate = Gate()
        receiver.on("/hook", gate)
        return gate

    @pytest.fixture
    def endpoint(self, receiver: Receiver) -> Endpoint:
        endpoint = endpoint_at(receiver, wire_format="slow")
        for _ in range(20):
            pending_event(endpoint.tenant)
        return endpoint

    @pytest.mark.parametrize(
        ("act", "status"),
        [(pause_endpoint, "succeeded"), (disable_endpoint, "succeeded"), (delete_endpoint, "cancelled")],
        ids=["paused", "disabled", "deleted"],
    )
    def test_only_requests_in_flight_still_finish(
        self, receiver: Receiver, gate: Gate, endpoint: Endpoint, act: Callable[..., Any], status: str
    ) -> None:
        with running_engine():
            receiver.wait_for(1)
            act(endpoint)
            time.sleep(1.0)
            gate.open()
            delivery_id = eventually(lambda: Attempt.objects.first()).delivery_id
            eventually(lambda: holders() == {None})
        assert len(receiver.requests) == 1
        assert Delivery.objects.get(pk=delivery_id).status == status
        assert Attempt.objects.get().outcome == "succeeded"
        assert set(Delivery.objects.exclude(pk=delivery_id).values_list("attempts", flat=True)) == {0}

    def test_a_queue_lost_to_another_engine_is_dropped(
        self, receiver: Receiver, gate: Gate, endpoint: Endpoint
    ) -> None:
        other = EngineFactory(alive_until=now() + HOUR)
        with running_engine():
            receiver.wait_for(1)
            EndpointQueue.objects.update(holder_id=other.pk)
            time.sleep(1.0)
            gate.open()
            eventually(lambda: Attempt.objects.exists())
        assert len(receiver.requests) == 1
        assert holders() == {other.pk}, "it is not ours to give back"
        assert Delivery.objects.filter(status="succeeded").count() == 1

    def test_a_delivery_cancelled_in_flight_stays_cancelled_with_its_attempt_kept(
        self, receiver: Receiver, gate: Gate
    ) -> None:
        delivery = due_delivery(endpoint_at(receiver, wire_format="slow"))
        with running_engine():
            receiver.wait_for(1)
            cancel_delivery(delivery)
            gate.open()
            eventually(lambda: Attempt.objects.exists())
        delivery.refresh_from_db()
        assert (delivery.status, delivery.attempts) == ("cancelled", 0)
        assert Attempt.objects.get().outcome == "succeeded"


class TestTheEndOfAnEngine:
    def test_lets_what_is_in_flight_end_and_gives_everything_back(self, receiver: Receiver) -> None:
        gate, stop = Gate(), threading.Event()
        receiver.on("/hook", gate)
        endpoint = endpoint_at(receiver, wire_format="slow")
        for _ in range(10):
            pending_event(endpoint.tenant)
        with running_engine(stop=stop):
            receiver.wait_for(1)
            stop.set()
            time.sleep(0.3)
            assert holders() != {None}
            gate.open()
        assert len(receiver.requests) == 1
        assert holders() == {None}
        assert not Engine.objects.exists()
        assert EndpointQueue.objects.get().due_at <= now()

    def test_abandons_what_has_no_response_in_time(self, receiver: Receiver) -> None:
        gate, stop = Gate(), threading.Event()
        receiver.on("/hook", [gate, 200])
        due_delivery(endpoint_at(receiver, wire_format="slow"))
        with running_engine(stop=stop, options=EngineOptions(drain_seconds=0.3)):
            receiver.wait_for(1)
            stop.set()
        assert holders() == {None}
        assert not Engine.objects.exists()
        assert Delivery.objects.values_list("status", "attempts").get() == ("pending", 0)
        assert EndpointQueue.objects.get().due_at <= now()
        deliver_until(lambda: Delivery.objects.get().status == "succeeded")
        assert len(receiver.requests) == 2
        assert EndpointQueue.objects.get().crash_takeovers == 0

    def test_by_an_error_does_not_hang(self, receiver: Receiver) -> None:
        receiver.on("/hook", Gate())
        due_delivery(endpoint_at(receiver, wire_format="slow"))

        def until(progress: engine.Progress) -> bool:
            if progress.requests:
                raise KeyboardInterrupt
            return False

        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            engine.run(until=until)
        assert time.monotonic() - began < 15
        assert holders() == {None}
        assert not Engine.objects.exists()


def test_a_wire_format_that_is_gone_stops_nobody(receiver: Receiver, deliver: Callable[[], Any]) -> None:
    lost = due_delivery(endpoint_at(receiver, wire_format="gone"))
    good = due_delivery(endpoint_at(receiver))
    deliver()
    good.refresh_from_db()
    assert good.status == "succeeded"
    lost.refresh_from_db()
    assert (lost.status, lost.attempts) == ("pending", 0)
    waits = EndpointQueue.objects.get(pk=lost.endpoint_id)
    assert datetime.now(UTC) < waits.due_at < datetime.now(UTC) + HOUR
