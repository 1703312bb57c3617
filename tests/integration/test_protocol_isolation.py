"""The protocol, isolation: a bad endpoint is held back, by itself, and slows nobody down."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.conftest import Configure
from tests.pipelines import Gate, deliver_until, due_delivery, endpoint_at, eventually, pending_event, running_engine
from tests.receiver import Receiver
from tests.receiver_behaviours import Answer, Hang
from webhooks_app.engine.options import EngineOptions
from webhooks_app.models import Attempt, Delivery, Endpoint, EndpointQueue, Notification, database_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]

SECOND = timedelta(seconds=1)


def now() -> datetime:
    return database_now("default")


def the_queue(endpoint: Endpoint) -> EndpointQueue:
    return EndpointQueue.objects.get(pk=endpoint.pk)


def held_back(endpoint: Endpoint) -> float:
    """For how many seconds more."""
    return (the_queue(endpoint).not_before - now()).total_seconds()


def make_due(endpoint: Endpoint) -> None:
    """Let the time pass that the queue is held back for."""
    EndpointQueue.objects.filter(pk=endpoint.pk).update(not_before=now(), due_at=now())


def never_slow() -> EngineOptions:
    """What hangs stays in the window."""
    return EngineOptions(slow_after=60.0, slow_after_if_crowded=60.0)


class TestSlowStart:
    def test_begins_with_one_request_and_doubles(self, receiver: Receiver) -> None:
        gates = [Gate() for _ in range(7)]
        receiver.on("/hook", gates)
        endpoint = endpoint_at(receiver, wire_format="slow", max_in_flight=4)
        for _ in range(7):
            pending_event(endpoint.tenant)
        with running_engine():
            for done, started in enumerate((1, 3, 5, 7)):  # one more, then two: doubled; then one for one, at the cap
                receiver.wait_for(min(started, 7))
                assert sum(gate.waiting for gate in gates) <= (1, 2, 4, 4)[done]
                gates[done].open()
            for gate in gates:
                gate.open()
            eventually(lambda: Delivery.objects.filter(status="succeeded").count() == 7)


class TestHangingEndpoints:
    def test_fill_at_most_half_of_the_window(self, receiver: Receiver, configure: Configure) -> None:
        configure(WINDOW=6)
        gate = Gate()
        receiver.on("/hang", gate)
        for _ in range(12):
            due_delivery(endpoint_at(receiver, "/hang", wire_format="slow"))
        good = due_delivery(endpoint_at(receiver, "/good", queue__last_success_at=now()))
        EndpointQueue.objects.filter(pk=good.endpoint_id).update(due_at=now() + 60 * SECOND)
        with running_engine(options=never_slow()):
            receiver.wait_for(3)
            # One that has succeeded lately gets the other half, however many hang.
            EndpointQueue.objects.filter(pk=good.endpoint_id).update(due_at=now())
            receiver.wait_for(1, path="/good")
            assert gate.waiting == 3
            gate.open()
            eventually(lambda: Delivery.objects.filter(status="succeeded").count() == 13)

    def test_do_not_keep_a_healthy_one_waiting(self, receiver: Receiver, configure: Configure) -> None:
        """Those known to be failing may fill a quarter of the window, however many they are and however long they wait."""
        configure(WINDOW=8)
        gate = Gate()
        receiver.on("/hang", gate)
        for _ in range(20):
            due_delivery(endpoint_at(receiver, "/hang", wire_format="slow", queue__consecutive_failures=1))
        healthy = endpoint_at(receiver, "/healthy")
        with running_engine(options=never_slow()):
            receiver.wait_for(2, path="/hang")
            for _ in range(30):
                pending_event(healthy.tenant)
            receiver.wait_for(30, path="/healthy")
            assert gate.waiting == 2
            gate.open()
            eventually(lambda: not Delivery.objects.filter(status="pending").exists())

    def test_are_released_with_a_back_off_after_a_time_out(
        self, receiver: Receiver, deliver: Callable[[], Any]
    ) -> None:
        receiver.on("/hook", Hang())
        endpoint = endpoint_at(receiver, wire_format="careful")
        for _ in range(5):
            due_delivery(endpoint)
        deliver()
        assert len(receiver.requests) == 1
        assert Attempt.objects.get().outcome == "timeout"
        assert 25 < held_back(endpoint) <= 30
        assert the_queue(endpoint).due_at == the_queue(endpoint).not_before

    def test_are_not_held_back_by_a_wire_format_that_does_not_throttle(
        self, receiver: Receiver, deliver: Callable[[], Any]
    ) -> None:
        receiver.on("/hook", 503)
        endpoint = endpoint_at(receiver, wire_format="plain")
        for _ in range(3):
            due_delivery(endpoint)
        deliver()
        assert len(receiver.requests) == 3


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_an_overloaded_receiver_slows_the_whole_queue_down(
    receiver: Receiver, deliver: Callable[[], Any], status: int
) -> None:
    receiver.on("/hook", status)
    endpoint = endpoint_at(receiver, wire_format="careful")
    for _ in range(3):
        due_delivery(endpoint)
    deliver()
    assert len(receiver.requests) == 1
    assert 25 < held_back(endpoint) <= 30


def test_retry_after_is_kept_by_the_whole_queue(receiver: Receiver, deliver: Callable[[], Any]) -> None:
    receiver.on("/hook", Answer(429, {"Retry-After": "7200"}))
    endpoint = endpoint_at(receiver, wire_format="careful")
    due_delivery(endpoint)
    other = due_delivery(endpoint)
    deliver()
    assert 7100 < held_back(endpoint) <= 7200
    assert len(receiver.requests) == 1
    other.refresh_from_db()
    assert (other.attempts, other.retry_step) == (0, 0)


class TestTheBreaker:
    @pytest.fixture
    def endpoint(self, receiver: Receiver, deliver: Callable[[], Any]) -> Endpoint:
        """It has failed five times, and thirty deliveries wait."""
        receiver.on("/hook", 500)
        endpoint = endpoint_at(receiver, wire_format="careful", max_in_flight=1)
        for _ in range(35):
            due_delivery(endpoint)
        deliver()
        return endpoint

    def test_opens_after_five_failures_in_a_row(self, receiver: Receiver, endpoint: Endpoint) -> None:
        assert len(receiver.requests) == 5
        assert the_queue(endpoint).consecutive_failures == 5
        assert 25 < held_back(endpoint) <= 30

    def test_lets_the_others_wait_without_using_up_attempts(self, endpoint: Endpoint) -> None:
        assert Delivery.objects.filter(attempts=1, retry_step=1).count() == 5
        assert Delivery.objects.filter(attempts=0, retry_step=0, status="pending").count() == 30

    def test_lets_one_probe_through_each_step_and_waits_twice_as_long(
        self, receiver: Receiver, endpoint: Endpoint, deliver: Callable[[], Any]
    ) -> None:
        for probes, wait in enumerate((60, 120, 240, 300, 300), start=1):
            make_due(endpoint)
            deliver()
            assert len(receiver.requests) == 5 + probes
            assert wait - 10 < held_back(endpoint) <= wait

    def test_closes_when_a_probe_succeeds(
        self, receiver: Receiver, endpoint: Endpoint, deliver: Callable[[], Any]
    ) -> None:
        receiver.on("/hook", 200)
        make_due(endpoint)
        deliver()
        assert Delivery.objects.filter(status="succeeded").count() == 30
        assert the_queue(endpoint).consecutive_failures == 0

    def test_gives_up_what_has_waited_too_long_behind_it(
        self, receiver: Receiver, endpoint: Endpoint, deliver: Callable[[], Any]
    ) -> None:
        old = Delivery.objects.filter(attempts=0).order_by("id")[:3].values_list("pk", flat=True)
        Delivery.objects.filter(pk__in=list(old)).update(expires_at=now() - SECOND)
        make_due(endpoint)
        deliver()
        expired = Delivery.objects.filter(status="exhausted")
        assert set(expired.values_list("last_outcome", "attempts")) == {("expired", 0)}
        assert expired.count() == 3
        assert Attempt.objects.count() == 6, "no request was made for them"
        assert Notification.objects.get().count == 3

    def test_is_the_only_reason_to_give_up_what_is_old(self, receiver: Receiver, deliver: Callable[[], Any]) -> None:
        late = due_delivery(endpoint_at(receiver), expires_at=now() - SECOND)
        deliver()
        late.refresh_from_db()
        assert late.status == "succeeded"


def test_failures_that_overlap_count_once(receiver: Receiver) -> None:
    gates = [Gate(500) for _ in range(4)]
    receiver.on("/hook", [200, 200, 200, *gates])
    endpoint = endpoint_at(receiver, wire_format="plain", max_in_flight=4)
    for _ in range(7):
        due_delivery(endpoint)
    with running_engine():
        receiver.wait_for(7)
        for gate in gates:
            gate.open()
        eventually(lambda: Attempt.objects.count() == 7)
    assert the_queue(endpoint).consecutive_failures == 1


def test_many_more_endpoints_than_may_be_held_are_all_served(receiver: Receiver, configure: Configure) -> None:
    configure(WINDOW=4, MAX_LEASED_QUEUES=3)
    for _ in range(25):
        due_delivery(endpoint_at(receiver))
    deliver_until(lambda: Delivery.objects.filter(status="succeeded").count() == 25)
