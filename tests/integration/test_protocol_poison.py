"""The protocol, crashes: a delivery that crashes its engine is found, alone, and isolated; it is never lost."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.factories import EngineFactory
from tests.pipelines import Gate, deliver_until, due_delivery, endpoint_at, eventually, running_engine
from tests.receiver import Receiver
from webhooks_app.db import write
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.reaper import release_dead_engines
from webhooks_app.engine.sql import store_for
from webhooks_app.engine.sql.types import LeaseCapacity, QueueClass
from webhooks_app.models import Attempt, Delivery, EndpointQueue, Engine, Notification, database_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]


SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
#: So long that nothing else starts while a suspected request is in flight.
ALONE = EngineOptions(crash_isolation_seconds=60.0)


def now() -> datetime:
    return database_now("default")


def after_crashes(count: int, ago: timedelta = SECOND) -> dict[str, Any]:
    """A queue that was taken over from so many crashed engines, the last one not long ago."""
    return {"queue__crash_takeovers": count, "queue__crashed_at": now() - ago}


def die(*endpoint_ids: Any, **values: Any) -> None:
    """An engine that held the queues has crashed."""
    dead = EngineFactory(alive_until=now() - SECOND, **values)
    EndpointQueue.objects.filter(pk__in=endpoint_ids).update(holder_id=dead.pk)
    assert release_dead_engines("default", now()).queues == len(endpoint_ids)


class TestATakeover:
    def test_is_counted_each_time(self, receiver: Receiver) -> None:
        endpoint = endpoint_at(receiver)
        for count in (1, 2, 3):
            die(endpoint.pk)
            assert EndpointQueue.objects.get().crash_takeovers == count

    def test_counts_from_one_again_where_the_last_was_long_ago(self, receiver: Receiver) -> None:
        endpoint = endpoint_at(receiver, **after_crashes(2, ago=11 * MINUTE))
        die(endpoint.pk)
        assert EndpointQueue.objects.get().crash_takeovers == 1

    def test_of_an_engine_that_was_draining_is_not_counted(self, receiver: Receiver) -> None:
        endpoint = endpoint_at(receiver)
        die(endpoint.pk, draining=True)
        assert EndpointQueue.objects.get().crash_takeovers == 0

    @pytest.mark.parametrize(("apart", "count"), [(2, 0), (30, 1)], ids=["together", "apart"])
    def test_is_not_counted_where_several_engines_died_together(
        self, receiver: Receiver, apart: int, count: int
    ) -> None:
        """Of a power cut or a deployment, not of a delivery."""
        for ago in (60, 60 + apart):
            died = EngineFactory(alive_until=now() - SECOND, beat_at=now() - ago * SECOND)
            endpoint_at(receiver, queue__holder_id=died.pk)
        assert release_dead_engines("default", now()).queues == 2
        assert set(EndpointQueue.objects.values_list("holder_id", "crash_takeovers")) == {(None, count)}
        assert not Engine.objects.exists()

    @pytest.mark.parametrize("status", [200, 500])
    @pytest.mark.parametrize("crash_takeovers", [1, 2, 3])
    def test_is_forgotten_after_any_finished_request(
        self, receiver: Receiver, deliver: Callable[..., Any], crash_takeovers: int, status: int
    ) -> None:
        receiver.on("/hook", status)
        due_delivery(endpoint_at(receiver, wire_format="plain", **after_crashes(crash_takeovers)))
        deliver()
        assert EndpointQueue.objects.get().crash_takeovers == 0


class TestASuspectedQueue:
    def test_runs_alone_one_request_at_a_time_and_marked_before_it(self, receiver: Receiver) -> None:
        suspect, other = Gate(), Gate()
        receiver.on("/suspect", [suspect, 200]).on("/other", [other, 200])
        endpoint = endpoint_at(receiver, "/suspect", wire_format="slow", **after_crashes(2))
        for _ in range(3):
            due_delivery(endpoint)
        beside = endpoint_at(receiver, "/other", wire_format="slow")
        with running_engine(options=ALONE):
            receiver.wait_for(1, path="/suspect")
            marked = Delivery.objects.get(crash_marked_at__isnull=False)
            for _ in range(3):
                due_delivery(beside)
            eventually(lambda: EndpointQueue.objects.get(pk=beside.pk).holder_id)
            assert {request.path for request in receiver.requests} == {"/suspect"}
            assert len(receiver.requests) == 1
            suspect.open()
            other.open()
            eventually(lambda: not Delivery.objects.filter(status="pending").exists())
        assert receiver.requests[0].headers["webhook-id"] == marked.event.public_id
        assert not Delivery.objects.filter(crash_marked_at__isnull=False).exists(), (
            "a finished delivery is marked no more"
        )

    def test_waits_until_nothing_else_is_in_flight(self, receiver: Receiver) -> None:
        other = Gate()
        receiver.on("/other", other)
        due_delivery(endpoint_at(receiver, "/other", wire_format="slow"))
        never_slow = {"slow_after": 60.0, "slow_after_if_crowded": 60.0}
        with running_engine(options=EngineOptions(crash_isolation_seconds=60.0, **never_slow)):
            receiver.wait_for(1)
            suspect = due_delivery(endpoint_at(receiver, "/suspect", **after_crashes(2)))
            eventually(lambda: Delivery.objects.get(pk=suspect.pk).crash_marked_at)
            assert {request.path for request in receiver.requests} == {"/other"}
            other.open()
            receiver.wait_for(1, path="/suspect")

    def test_is_one_of_a_kind_in_an_engine(self, receiver: Receiver) -> None:
        gate = Gate()
        receiver.on("/hook", [gate, 200])
        endpoints = [endpoint_at(receiver, wire_format="slow", **after_crashes(2)) for _ in range(3)]
        for endpoint in endpoints:
            due_delivery(endpoint)
        with running_engine():
            receiver.wait_for(1)
            assert EndpointQueue.objects.filter(holder_id__isnull=False).count() == 1
            gate.open()
            eventually(lambda: Delivery.objects.filter(status="succeeded").count() == 3)

    def test_that_hangs_does_not_stop_the_others(self, receiver: Receiver) -> None:
        """A crash comes at once; an endpoint that hangs is only the likeliest to be held when an engine is killed."""
        gate = Gate()
        receiver.on("/suspect", gate)
        due_delivery(endpoint_at(receiver, "/suspect", wire_format="slow", **after_crashes(2)))
        with running_engine(options=EngineOptions(crash_isolation_seconds=0.2)):
            receiver.wait_for(1, path="/suspect")
            due_delivery(endpoint_at(receiver, "/other"))
            receiver.wait_for(1, timeout=4.0, path="/other")
            gate.open()

    def test_does_not_wait_for_ever_to_be_alone(self, receiver: Receiver) -> None:
        gate = Gate()
        receiver.on("/other", [gate, 200])
        other = endpoint_at(receiver, "/other", wire_format="slow")
        due_delivery(other)
        with running_engine(options=EngineOptions(crash_isolation_seconds=0.2)):
            receiver.wait_for(1, path="/other")
            due_delivery(endpoint_at(receiver, "/suspect", **after_crashes(2)))
            receiver.wait_for(1, timeout=4.0, path="/suspect")
            gate.open()


class TestAfterThreeTakeovers:
    def test_the_marked_delivery_waits_and_the_others_go_on(self, receiver: Receiver, caplog: Any) -> None:
        endpoint = endpoint_at(receiver, **after_crashes(2))
        culprit, *innocent = [due_delivery(endpoint) for _ in range(4)]
        Delivery.objects.filter(pk=culprit.pk).update(crash_marked_at=now())
        die(endpoint.pk)
        deliver_until(lambda: Delivery.objects.filter(status="succeeded").count() == 3)
        culprit.refresh_from_db()
        assert (culprit.status, culprit.last_outcome, culprit.attempts) == ("pending", "quarantined", 0)
        assert (culprit.crashes, culprit.crash_marked_at) == (1, None)
        assert 9 * MINUTE < culprit.next_attempt_at - now() <= 10 * MINUTE
        assert {each.event.public_id for each in innocent} == {
            request.headers["webhook-id"] for request in receiver.requests
        }
        assert not Attempt.objects.filter(delivery=culprit).exists()
        assert EndpointQueue.objects.get().crash_takeovers == 0
        assert f"delivery {culprit.public_id} crashed an engine" in caplog.text

    def test_it_waits_longer_each_time(self, receiver: Receiver) -> None:
        endpoint = endpoint_at(receiver)
        culprit = due_delivery(endpoint)
        for hours in (1 / 6, 1, 6, 24, 24):
            Delivery.objects.update(crash_marked_at=now(), next_attempt_at=now())
            die(endpoint.pk)
            culprit.refresh_from_db()
            wait = timedelta(hours=hours)
            assert wait - MINUTE < culprit.next_attempt_at - now() <= wait
            assert EndpointQueue.objects.get().due_at <= now(), "the next engine looks when its work is due"
        assert (culprit.status, culprit.crashes) == ("pending", 5)
        deliver_until(lambda: EndpointQueue.objects.get().due_at == culprit.next_attempt_at)
        assert not receiver.requests

    def test_it_is_sent_in_isolation_when_its_time_has_come(self, receiver: Receiver) -> None:
        gate = Gate()
        receiver.on("/crashing", [gate, 200])
        endpoint = endpoint_at(receiver, "/crashing", wire_format="slow")
        culprit, innocent = due_delivery(endpoint, crashes=1), due_delivery(endpoint)
        other = due_delivery(endpoint_at(receiver, "/other"))
        EndpointQueue.objects.filter(pk=other.endpoint_id).update(due_at=now() + timedelta(hours=1))
        with running_engine(options=ALONE):
            receiver.wait_for(1)
            assert Delivery.objects.get(crash_marked_at__isnull=False) == culprit
            EndpointQueue.objects.filter(pk=other.endpoint_id).update(due_at=now())
            eventually(lambda: EndpointQueue.objects.get(pk=other.endpoint_id).holder_id)
            assert len(receiver.requests) == 1
            gate.open()
            eventually(lambda: not Delivery.objects.filter(status="pending").exists())
        assert receiver.requests[0].headers["webhook-id"] == culprit.event.public_id
        assert set(Delivery.objects.values_list("status", "attempts")) == {("succeeded", 1)}
        assert innocent.event.public_id in {request.headers["webhook-id"] for request in receiver.requests}

    def test_it_is_given_up_after_its_maximum_age_alone(self, receiver: Receiver) -> None:
        endpoint = endpoint_at(receiver)
        culprit = due_delivery(endpoint, crashes=4, expires_at=now() - SECOND)
        innocent = due_delivery(endpoint)
        deliver_until(lambda: not Delivery.objects.filter(status="pending").exists())
        culprit.refresh_from_db()
        assert (culprit.status, culprit.last_outcome, culprit.attempts) == ("exhausted", "quarantined", 0)
        assert not Attempt.objects.filter(delivery=culprit).exists()
        assert Notification.objects.get().reason == "quarantined"
        assert Delivery.objects.get(pk=innocent.pk).status == "succeeded"

    def test_one_that_was_not_marked_gets_its_chance(self, receiver: Receiver, deliver: Callable[..., Any]) -> None:
        endpoint = endpoint_at(receiver, **after_crashes(2))
        due_delivery(endpoint)
        die(endpoint.pk)
        deliver()
        assert Delivery.objects.get().status == "succeeded"

    def test_an_engine_that_lived_on_died_of_something_else(
        self, receiver: Receiver, deliver: Callable[..., Any]
    ) -> None:
        endpoint = endpoint_at(receiver, **after_crashes(2))
        due_delivery(endpoint)
        Delivery.objects.update(crash_marked_at=now() - 60 * SECOND)
        die(endpoint.pk, beat_at=now() - 55 * SECOND)
        assert Delivery.objects.values_list("crashes", "crash_marked_at").get() == (0, None)
        deliver()
        assert Delivery.objects.get().status == "succeeded"

    def test_the_mark_is_of_the_one_that_was_being_sent(self, receiver: Receiver) -> None:
        """Three engines die over the second of three deliveries."""
        endpoint = endpoint_at(receiver, "/hook", wire_format="slow", **after_crashes(2))
        gate = Gate()
        receiver.on("/hook", [gate, 200])
        first, second = due_delivery(endpoint), due_delivery(endpoint)
        with running_engine():
            receiver.wait_for(1)
            marks = dict(Delivery.objects.values_list("pk", "crash_marked_at"))
            gate.open()
        assert marks[first.pk] is not None
        assert marks[second.pk] is None


def test_queues_are_taken_by_their_class(receiver: Receiver) -> None:
    store = store_for("default")
    lately = {"queue__last_success_at": now() - MINUTE}
    wanted = {
        QueueClass.TRUSTED: [endpoint_at(receiver, **lately), endpoint_at(receiver, **lately, **after_crashes(1))],
        QueueClass.NEW: [
            endpoint_at(receiver, **after_crashes(1)),
            endpoint_at(receiver, queue__last_success_at=now() - 6 * MINUTE),
            endpoint_at(receiver, **after_crashes(2, ago=11 * MINUTE)),
        ],
        QueueClass.FAILING: [endpoint_at(receiver, queue__consecutive_failures=3, **lately)],
        QueueClass.SUSPECTED: [endpoint_at(receiver, queue__consecutive_failures=3, **after_crashes(2))],
    }
    EndpointQueue.objects.update(due_at=now())
    engine = EngineFactory()
    for name, endpoints in wanted.items():
        with write("default"):
            taken = store.take(engine.pk, now(), {name: LeaseCapacity(10, frozenset(), 10)})
        assert {row.endpoint_id for row in taken} == {endpoint.pk for endpoint in endpoints}, name
