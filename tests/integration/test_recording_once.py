"""Every request is one row, and counted once, whatever is locked and whatever answer of the database is lost."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest
from django.db import OperationalError, connection

from tests.factories import DeliveryFactory
from tests.locks import locked
from tests.outages import Outage, broken
from tests.pipelines import deliver_until, due_delivery, endpoint_at, eventually, held_endpoint
from tests.receiver import Receiver
from tests.refused_rows import refused
from webhooks_app.core.circuit_breaker import Health
from webhooks_app.core.retry import Decision, DeliveryVerdict, Outcome, OutcomeKind
from webhooks_app.engine.endpoint_config import load_endpoint_configs
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.heartbeat import Heartbeat
from webhooks_app.engine.leased_queue import LeasedQueue
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.record import Recorder
from webhooks_app.engine.result_buffer import ResultBuffer
from webhooks_app.engine.types import QueuedDelivery, Result
from webhooks_app.engine.window import Window
from webhooks_app.models import Attempt, Delivery, EndpointQueue, HourlyStat, database_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]


def recorder_of(rows: list[Delivery], announced: list[Any]) -> tuple[Recorder, list[Result]]:
    """A recorder whose engine holds the queues of these deliveries, and a success of each."""
    options = EngineOptions()
    heartbeat = Heartbeat("default", "test", options, on_change=lambda: None)
    EndpointQueue.objects.update(holder_id=heartbeat.engine_id)
    configs = load_endpoint_configs([row.endpoint_id for row in rows], "default")
    window = Window(options, capacity=100)
    window.add([LeasedQueue(config, Health(), 0.0, heartbeat.engine_id) for config in configs.values()])
    recorder = Recorder("default", window, ResultBuffer(), heartbeat, options, FaultLog(), announced.append)
    results = [
        Result(
            delivery=QueuedDelivery(row.pk, row.endpoint_id, row.event_id, 0, 0, row.next_attempt_at, 0, 0),
            config=configs[row.endpoint_id],
            outcome=Outcome(OutcomeKind.SUCCEEDED, 200),
            started_at=database_now("default"),
            duration=0.1,
            decision=Decision(DeliveryVerdict.SUCCEEDED),
            health=Health(),
            was=Health(),
        )
        for row in rows
    ]
    return recorder, results


@pytest.mark.postgres
def test_a_rotation_pair_whose_second_half_waits_for_a_lock_is_two_rows() -> None:
    delivery = DeliveryFactory(endpoint=held_endpoint())
    recorder, [second] = recorder_of([delivery], [])
    first = replace(second, outcome=Outcome(OutcomeKind.CLIENT_ERROR, 401), decision=None)
    recorder.add([first, second])
    with locked(delivery):
        recorder.step(at_once=True)
        assert list(Attempt.objects.values_list("status", flat=True)) == [401]
    eventually(lambda: recorder.step(at_once=True) or not recorder.unrecorded)
    assert sorted(Attempt.objects.values_list("status", flat=True)) == [200, 401]


@pytest.mark.postgres
@pytest.mark.parametrize("moment", ["commit", "answer"])
def test_what_was_written_around_a_lock_is_not_written_again(moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is lost at the COMMIT."""
    busy, free = (DeliveryFactory(endpoint=held_endpoint()) for _ in range(2))
    announced: list[Any] = []
    recorder, results = recorder_of([busy, free], announced)
    recorder.add(results)
    outage = Outage("webhooks_app_hourlystat", thread=threading.current_thread().name)
    with broken(outage, moment, monkeypatch), locked(busy):
        with pytest.raises(OperationalError):
            recorder.step(at_once=True)
        assert outage.happened
        connection.close()
        recorder.step(at_once=True)
        assert Attempt.objects.get().delivery_id == free.pk
    eventually(lambda: recorder.step(at_once=True) or not recorder.unrecorded)
    assert Attempt.objects.count() == 2
    assert sum(stat.succeeded for stat in HourlyStat.objects.all()) == 2
    assert len([batch for batch in announced if batch.succeeded]) == 2


@pytest.mark.parametrize("moment", ["commit", "answer"])
def test_what_was_written_of_a_refused_result_is_not_written_again(
    receiver: Receiver, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = endpoint_at(receiver, wire_format="once")
    due_delivery(endpoint)
    outage = Outage("INSERT", "webhooks_app_hourlystat")
    with refused("webhooks_app_hourlystat", "endpoint_id", endpoint.pk), broken(outage, moment, monkeypatch):
        deliver_until(lambda: Delivery.objects.filter(status="succeeded").exists() and outage.happened)
    assert Attempt.objects.count() == len(receiver.requests) == 1
