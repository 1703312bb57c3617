"""The protocol, takeover: an engine that is dead is replaced, one that lives is left alone, whatever the host does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.signals import ModelSignal, post_delete, post_save, pre_delete, pre_save

from tests.conftest import Configure
from tests.factories import EndpointFactory, EngineFactory
from tests.locks import locked
from tests.outages import HEARTBEAT_THREAD, Outage, broken, watched_statements
from tests.pipelines import InThread, deliver_until, due_delivery, endpoint_at, eventually, running_engine
from tests.receiver import Receiver
from tests.refused_rows import refused
from webhooks_app.engine import lease, repair_thread
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.heartbeat import Heartbeat
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.reaper import release_queues_of
from webhooks_app.engine.sweep import Repaired, sweep
from webhooks_app.engine.window import Window
from webhooks_app.models import Delivery, EndpointQueue, Engine, database_now
from webhooks_app.models.ids import new_id

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]

SECOND = timedelta(seconds=1)


def now() -> datetime:
    return database_now("default")


def all_succeeded() -> bool:
    return not Delivery.objects.exclude(status="succeeded").exists()


# --- the engine's own row ---------------------------------------------------------------------------------------------


@contextmanager
def failing_receivers(*signals: ModelSignal) -> Iterator[None]:
    def fail(**_: object) -> None:
        raise RuntimeError("a receiver of the host")

    for signal in signals:
        signal.connect(fail, sender=Engine)
    try:
        yield
    finally:
        for signal in signals:
            signal.disconnect(fail, sender=Engine)


def test_a_receiver_of_model_signals_that_raises_stops_neither_the_engine_nor_a_takeover(
    receiver: Receiver, configure: Configure
) -> None:
    configure(HEARTBEAT_SECONDS=1.2)
    dead = EngineFactory(alive_until=now() - SECOND)
    due_delivery(endpoint_at(receiver, queue__holder_id=dead.pk))
    with failing_receivers(pre_save, post_save, pre_delete, post_delete):
        deliver_until(all_succeeded)
    assert not Engine.objects.exists()


def test_an_engine_whose_row_was_written_without_an_acknowledgement_goes_on(
    receiver: Receiver, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(HEARTBEAT_SECONDS=1.2)
    due_delivery(endpoint_at(receiver))
    outage = Outage("INSERT INTO", "webhooks_app_engine", thread=HEARTBEAT_THREAD)
    with broken(outage, "answer", monkeypatch):
        deliver_until(all_succeeded)
    assert outage.happened
    assert not Engine.objects.exists()


@contextmanager
def idle_sessions_end_after(milliseconds: int) -> Iterator[None]:
    """Of every connection that is opened meanwhile, the server ends those that are idle for so long."""
    database = f'DATABASE "{connection.settings_dict["NAME"]}"'
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER {database} SET idle_session_timeout = {milliseconds}")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER {database} RESET idle_session_timeout")


@pytest.mark.postgres
def test_a_server_that_ends_idle_sessions_prevents_no_takeover(
    receiver: Receiver, configure: Configure, caplog: Any
) -> None:
    """Each heartbeat finds its connection ended."""
    configure(HEARTBEAT_SECONDS=1.8)
    dead = EngineFactory(alive_until=now() - SECOND)
    due_delivery(endpoint_at(receiver, queue__holder_id=dead.pk))
    with idle_sessions_end_after(100), running_engine():  # the test's own connection was opened before
        eventually(all_succeeded)
    assert "no heartbeat" not in caplog.text
    assert not Engine.objects.exists()


@pytest.mark.parametrize("how", ["an exit", "a connection that cannot be closed"])
def test_a_heartbeat_that_fails_for_good_starts_the_engine_again(
    receiver: Receiver, configure: Configure, monkeypatch: pytest.MonkeyPatch, caplog: Any, how: str
) -> None:
    configure(HEARTBEAT_SECONDS=1.2)
    armed, struck = threading.Event(), threading.Event()
    close = BaseDatabaseWrapper.close

    def strike(sql: str) -> None:
        if armed.is_set() and "UPDATE" in sql and "webhooks_app_engine" in sql:
            armed.clear()
            struck.set()
            raise SystemExit("a wrapper of the host") if how == "an exit" else OperationalError("lost")

    def close_badly(self: BaseDatabaseWrapper) -> None:
        close(self)
        if struck.is_set() and threading.current_thread().name == HEARTBEAT_THREAD:
            struck.clear()
            raise OSError("bad file descriptor")

    monkeypatch.setattr(BaseDatabaseWrapper, "close", close_badly)
    with watched_statements(strike, HEARTBEAT_THREAD), running_engine():
        first = eventually(lambda: Engine.objects.first())
        armed.set()
        eventually(lambda: not armed.is_set() and not struck.is_set())
        if how == "an exit":
            eventually(lambda: Engine.objects.exclude(pk=first.pk).exists())
            assert not Engine.objects.filter(pk=first.pk).exists(), "it resigned"
        endpoint = endpoint_at(receiver)
        due_delivery(endpoint)
        eventually(all_succeeded)
    assert ("starts again" in caplog.text) == (how == "an exit")
    assert EndpointQueue.objects.get().crash_takeovers == 0


# --- repairs ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def repairs(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When a repair began."""
    begun: list[float] = []

    def repair_free(using: str) -> Repaired:
        begun.append(time.monotonic())
        return Repaired()

    monkeypatch.setattr(repair_thread, "repair_free", repair_free)
    return begun


def test_a_dead_engine_whose_row_stays_causes_no_repair(
    receiver: Receiver, configure: Configure, repairs: list[float]
) -> None:
    configure(HEARTBEAT_SECONDS=1.0)
    dead = EngineFactory(alive_until=now() - SECOND)
    endpoint = endpoint_at(receiver, queue__holder_id=dead.pk)
    with running_engine(options=EngineOptions(repair_pause=0.3)):
        with refused("webhooks_app_endpointqueue", "endpoint_id", endpoint.pk, "UPDATE"):
            eventually(lambda: Engine.objects.exclude(pk=dead.pk).exists())
            time.sleep(1.5)
            assert Engine.objects.filter(pk=dead.pk).exists()
            assert repairs == []
        eventually(lambda: not Engine.objects.filter(pk=dead.pk).exists())
        eventually(lambda: repairs)


@pytest.mark.processes
def test_repairs_come_one_after_the_other(repairs: list[float]) -> None:
    repair_thread.repair_soon("default", 0.3)
    eventually(lambda: repairs)
    for _ in range(20):
        repair_thread.repair_soon("default", 0.3)
    eventually(lambda: len(repairs) == 2)
    eventually(lambda: repair_thread._thread is None)
    assert len(repairs) == 2
    assert repairs[1] - repairs[0] >= 0.25


# --- sweep ------------------------------------------------------------------------------------------------------------


def test_a_sweep_after_an_outage_waits_for_the_heartbeats_of_those_that_live() -> None:
    """All rows have expired meanwhile. The sweep may come before the next heartbeat."""
    engine = EngineFactory(alive_until=now() - SECOND)
    endpoint = EndpointFactory(queue__holder_id=engine.pk)

    def beat() -> None:
        time.sleep(0.5)
        Engine.objects.filter(pk=engine.pk).update(alive_until=now() + 60 * SECOND, beat_at=now())

    beating = InThread(beat)
    assert sweep().freed == 0
    beating.result()
    assert EndpointQueue.objects.values_list("holder_id", "crash_takeovers").get(pk=endpoint.pk) == (engine.pk, 0)


def test_a_sweep_finds_an_engine_that_expires_while_it_waits() -> None:
    """Or it would be found one sweep later."""
    engine = EngineFactory(alive_until=now() + SECOND)
    EndpointFactory(queue__holder_id=engine.pk)
    assert sweep().freed == 1
    assert not Engine.objects.exists()


def test_a_sweep_waits_for_nobody_while_all_engines_beat() -> None:
    EngineFactory(alive_until=now() + 5 * SECOND)
    began = time.monotonic()
    sweep()
    assert time.monotonic() - began < 1.0


# --- taken for dead ---------------------------------------------------------------------------------------------------


def test_a_queue_that_is_taken_while_the_engine_is_taken_for_dead_is_given_back(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It commits under the engine's former id, after what was held under that id has been released."""
    options, faults = EngineOptions(), FaultLog()
    heartbeat = Heartbeat("default", "test", options, on_change=lambda: None)
    heartbeat.start()
    eventually(lambda: heartbeat.alive)
    leases = lease.Lease("default", heartbeat, Window(options, capacity=10), options, faults)
    take = leases._take

    def taken_for_dead(engine_id: Any, *args: Any) -> Any:
        heartbeat._former.append(engine_id)
        heartbeat.engine_id = new_id()
        release_queues_of("default", [engine_id], crashed=False)
        return take(engine_id, *args)

    monkeypatch.setattr(leases, "_take", taken_for_dead)
    delivery = due_delivery(endpoint_at(receiver))
    assert leases.take() == 0
    queue = EndpointQueue.objects.get(pk=delivery.endpoint_id)
    assert queue.holder_id is None
    assert queue.due_at <= now()
    heartbeat.end(5.0)


@pytest.mark.postgres
def test_a_queue_that_is_locked_while_its_engine_is_taken_for_dead_is_released_later(
    receiver: Receiver, configure: Configure
) -> None:
    configure(HEARTBEAT_SECONDS=1.2)
    endpoint = endpoint_at(receiver)
    with running_engine():
        first = eventually(lambda: Engine.objects.first())
        EndpointQueue.objects.filter(pk=endpoint.pk).update(holder_id=first.pk)
        with locked(EndpointQueue.objects.get(pk=endpoint.pk)):
            Engine.objects.filter(pk=first.pk)._raw_delete("default")
            eventually(lambda: Engine.objects.exclude(pk=first.pk).exists())
            time.sleep(0.5)
        eventually(lambda: EndpointQueue.objects.get(pk=endpoint.pk).holder_id is None)
