"""The protocol, poison: a delivery that takes its engine down with it is found, alone, and set aside."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.conftest import Configure
from tests.factories import EngineFactory
from tests.pipelines import Gate, deliver_until, due_delivery, endpoint_at, eventually, running_engine
from tests.receiver import Receiver
from webhooks_app.models import Attempt, Delivery, EndpointQueue, Notice, database_now
from webhooks_app.pipeline import solo
from webhooks_app.pipeline.heartbeat import free_dead_engines
from webhooks_app.pipeline.store import store_for
from webhooks_app.pipeline.store.rows import QueueState
from webhooks_app.pipeline.transactions import write

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]


def now() -> datetime:
    return database_now("default")


def die(endpoint_id: Any) -> None:
    """An engine that held the queue has stopped without a word."""
    dead = EngineFactory(alive_until=now() - timedelta(seconds=1))
    EndpointQueue.objects.filter(pk=endpoint_id).update(holder_id=dead.pk)
    assert free_dead_engines("default", now()) == 1


def test_each_dead_holder_is_counted(receiver: Receiver) -> None:
    endpoint = endpoint_at(receiver)
    for count in (1, 2, 3):
        die(endpoint.pk)
        assert EndpointQueue.objects.get().takeovers == count


@pytest.mark.parametrize("takeovers", [1, 2, 3])
def test_a_success_sets_the_count_back(receiver: Receiver, deliver: Callable[[], Any], takeovers: int) -> None:
    due_delivery(endpoint_at(receiver, queue__takeovers=takeovers))
    deliver()
    assert EndpointQueue.objects.get().takeovers == 0


def test_a_failure_does_not(receiver: Receiver, deliver: Callable[[], Any]) -> None:
    receiver.on("/hook", 500)
    due_delivery(endpoint_at(receiver, profile="plain", queue__takeovers=2))
    deliver()
    assert EndpointQueue.objects.get().takeovers == 2


class TestASuspectedQueue:
    def test_runs_alone_one_request_at_a_time_and_marked_before_it(
        self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(solo, "LONGEST_ALONE", 60.0)
        suspect, other = Gate(), Gate()
        receiver.on("/suspect", [suspect, 200]).on("/other", [other, 200])
        endpoint = endpoint_at(receiver, "/suspect", profile="slow", queue__takeovers=2)
        for _ in range(3):
            due_delivery(endpoint)
        beside = endpoint_at(receiver, "/other", profile="slow")
        with running_engine():
            receiver.wait_for(1, path="/suspect")
            marked = Delivery.objects.get(marked_at__isnull=False)
            for _ in range(3):
                due_delivery(beside)
            eventually(lambda: EndpointQueue.objects.get(pk=beside.pk).holder_id)
            assert {request.path for request in receiver.requests} == {"/suspect"}
            assert len(receiver.requests) == 1
            suspect.open()
            other.open()
            eventually(lambda: not Delivery.objects.filter(status="pending").exists())
        assert receiver.requests[0].headers["webhook-id"] == marked.event.public_id
        assert not Delivery.objects.filter(marked_at__isnull=False).exists(), "a finished delivery is marked no more"

    def test_waits_until_nothing_else_is_in_flight(self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(solo, "LONGEST_ALONE", 60.0)
        other = Gate()
        receiver.on("/other", other)
        due_delivery(endpoint_at(receiver, "/other", profile="slow"))
        with running_engine():
            receiver.wait_for(1)
            suspect = due_delivery(endpoint_at(receiver, "/suspect", queue__takeovers=2))
            eventually(lambda: Delivery.objects.get(pk=suspect.pk).marked_at)
            assert {request.path for request in receiver.requests} == {"/other"}
            other.open()
            receiver.wait_for(1, path="/suspect")

    def test_is_one_of_a_kind_in_an_engine(self, receiver: Receiver) -> None:
        gate = Gate()
        receiver.on("/hook", [gate, 200])
        endpoints = [endpoint_at(receiver, profile="slow", queue__takeovers=2) for _ in range(3)]
        for endpoint in endpoints:
            due_delivery(endpoint)
        with running_engine():
            receiver.wait_for(1)
            assert EndpointQueue.objects.filter(holder_id__isnull=False).count() == 1
            gate.open()
            eventually(lambda: Delivery.objects.filter(status="succeeded").count() == 3)

    def test_that_hangs_does_not_stop_the_others(self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
        """A crash comes at once; an endpoint that hangs is only the likeliest to be held when an engine is killed."""
        monkeypatch.setattr(solo, "LONGEST_ALONE", 0.2)
        gate = Gate()
        receiver.on("/suspect", gate)
        due_delivery(endpoint_at(receiver, "/suspect", profile="slow", queue__takeovers=2))
        with running_engine():
            receiver.wait_for(1, path="/suspect")
            due_delivery(endpoint_at(receiver, "/other"))
            receiver.wait_for(1, timeout=4.0, path="/other")
            gate.open()

    def test_does_not_wait_for_ever_to_be_alone(self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(solo, "LONGEST_ALONE", 0.2)
        gate = Gate()
        receiver.on("/other", [gate, 200])
        other = endpoint_at(receiver, "/other", profile="slow")
        due_delivery(other)
        with running_engine():
            receiver.wait_for(1, path="/other")
            due_delivery(endpoint_at(receiver, "/suspect", queue__takeovers=2))
            receiver.wait_for(1, timeout=4.0, path="/suspect")
            gate.open()


class TestAfterThreeTakeovers:
    def test_the_marked_delivery_is_quarantined_and_the_others_go_on(
        self, receiver: Receiver, configure: Configure, caplog: Any
    ) -> None:
        endpoint = endpoint_at(receiver, queue__takeovers=2)
        culprit, *innocent = [due_delivery(endpoint) for _ in range(4)]
        Delivery.objects.filter(pk=culprit.pk).update(marked_at=now())
        die(endpoint.pk)
        deliver_until(lambda: not Delivery.objects.filter(status="pending").exists())
        culprit.refresh_from_db()
        assert (culprit.status, culprit.last_outcome, culprit.attempts) == ("exhausted", "quarantined", 0)
        assert {each.event.public_id for each in innocent} == {
            request.headers["webhook-id"] for request in receiver.requests
        }
        assert not Attempt.objects.filter(delivery=culprit).exists()
        assert Notice.objects.get().reason == "quarantined"
        assert EndpointQueue.objects.get().takeovers == 0
        assert "quarantined after 3 crashes" in caplog.text

    def test_one_that_was_not_marked_gets_its_chance(self, receiver: Receiver, deliver: Callable[[], Any]) -> None:
        endpoint = endpoint_at(receiver, queue__takeovers=2)
        due_delivery(endpoint)
        die(endpoint.pk)
        deliver()
        assert Delivery.objects.get().status == "succeeded"

    def test_the_mark_is_of_the_one_that_was_being_sent(self, receiver: Receiver) -> None:
        """Three engines die over the second of three deliveries."""
        endpoint = endpoint_at(receiver, "/hook", profile="slow", queue__takeovers=2)
        gate = Gate()
        receiver.on("/hook", [gate, 200])
        first, second = due_delivery(endpoint), due_delivery(endpoint)
        with running_engine():
            receiver.wait_for(1)
            marks = dict(Delivery.objects.values_list("pk", "marked_at"))
            gate.open()
        assert marks[first.pk] is not None
        assert marks[second.pk] is None


def test_queues_are_taken_by_their_state(receiver: Receiver) -> None:
    store = store_for("default")
    wanted = {
        QueueState.HEALTHY: endpoint_at(receiver, queue__takeovers=1),
        QueueState.FAILING: endpoint_at(receiver, queue__streak=3),
        QueueState.SUSPECT: endpoint_at(receiver, queue__takeovers=2, queue__streak=3),
    }
    EndpointQueue.objects.update(due_at=now())
    engine = EngineFactory()
    for state, endpoint in wanted.items():
        with write("default"):
            assert [row.endpoint_id for row in store.take(engine.pk, now(), {state: 10})] == [endpoint.pk]
