"""The protocol, owed wake-ups: an engine that died owing one leaves a trace until the queue has been woken."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError

from tests.conftest import Configure
from tests.factories import DeliveryFactory, EndpointFactory, EngineFactory
from tests.locks import locked
from tests.pipelines import eventually, running_engine
from webhooks_app.engine import repair_thread
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.sweep import Repaired, sweep
from webhooks_app.models import Delivery, Endpoint, EndpointQueue, Engine, database_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]


def owed_wakeup() -> tuple[Endpoint, Engine]:
    """A delivery was made, its queue sleeps, and the engine that was to wake it is dead."""
    now = database_now("default")
    endpoint = EndpointFactory(queue__not_before=now - timedelta(hours=1))
    DeliveryFactory(endpoint=endpoint, next_attempt_at=now)
    return endpoint, EngineFactory(alive_until=now - timedelta(seconds=1))


def is_awake(endpoint: Endpoint) -> bool:
    return EndpointQueue.objects.get(pk=endpoint.pk).due_at <= database_now("default")


@pytest.mark.postgres
def test_a_sweep_leaves_the_engines_row_until_the_queue_was_free() -> None:
    endpoint, dead = owed_wakeup()
    with locked(EndpointQueue.objects.get(pk=endpoint.pk)):
        sweep()
        assert Engine.objects.get() == dead
    sweep()
    assert is_awake(endpoint)
    assert not Engine.objects.exists()


@pytest.mark.postgres
def test_an_engine_looks_again_until_the_queue_was_free(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(HEARTBEAT_SECONDS=1.2)
    endpoint, dead = owed_wakeup()
    repairs: list[Repaired] = []
    monkeypatch.setattr(repair_thread, "repair_free", _noted(repairs))
    with running_engine(options=EngineOptions(repair_pause=0.3)):
        with locked(EndpointQueue.objects.get(pk=endpoint.pk)):
            eventually(lambda: not Engine.objects.filter(pk=dead.pk).exists())
            eventually(lambda: any(repaired.skipped for repaired in repairs))
        eventually(lambda: not Delivery.objects.filter(attempts=0).exists())
    eventually(lambda: repair_thread._thread is None)
    assert sum(repaired.queues for repaired in repairs) == 1


def test_a_repair_that_fails_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint, _ = owed_wakeup()
    faults: list[Exception] = [OperationalError("the database is away")]
    monkeypatch.setattr(repair_thread, "repair_free", _noted([], faults))
    repair_thread.repair_soon("default", 0.1)
    eventually(lambda: is_awake(endpoint))
    eventually(lambda: repair_thread._thread is None)


def _noted(repairs: list[Repaired], faults: list[Exception] | None = None) -> Any:
    repair_free = repair_thread.repair_free

    def repair(using: str) -> Repaired:
        if faults:
            raise faults.pop()
        repairs.append(repair_free(using))
        return repairs[-1]

    return repair
