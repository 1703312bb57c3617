"""An engine that cannot start, or whose thread fails, starts again; what it was told when it ends for good is told once."""

from __future__ import annotations

import errno
import threading
import time
from typing import Any
from unittest.mock import create_autospec

import pytest
from django.db import connection, transaction

from tests.conftest import Configure
from tests.outages import watched_statements
from tests.pipelines import PATIENCE, InThread, deliver_until, due_delivery, endpoint_at, eventually
from tests.receiver import Receiver
from webhooks_app import celery_worker
from webhooks_app.engine import run as engine
from webhooks_app.engine.lease import Lease
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.window import Window
from webhooks_app.exceptions import ConfigurationError
from webhooks_app.models import Delivery, EndpointQueue, Engine
from webhooks_app.transport import open_transport

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]


def all_succeeded() -> bool:
    return not Delivery.objects.exclude(status="succeeded").exists()


def threads_named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


@pytest.mark.parametrize("name", ["webhooks-heartbeat", "webhooks-database"])
def test_an_engine_whose_thread_cannot_start_starts_again(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    start, failed = threading.Thread.start, []

    def start_later(thread: threading.Thread) -> None:
        if thread.name == name and not failed:
            failed.append(thread)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_later)
    due_delivery(endpoint_at(receiver))
    deliver_until(all_succeeded)
    assert failed
    assert threads_named("webhooks-heartbeat") == []
    assert not Engine.objects.exists()


def test_an_engine_without_descriptors_for_its_transport_starts_again(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []

    def open_later() -> Any:
        tries.append(1)
        if len(tries) < 3:
            raise OSError(errno.EMFILE, "Too many open files")
        return open_transport()

    monkeypatch.setattr(engine, "open_transport", open_later)
    due_delivery(endpoint_at(receiver))
    deliver_until(all_succeeded)
    assert len(tries) == 3


def test_a_transport_that_does_not_exist_is_an_error(configure: Configure) -> None:
    configure(TRANSPORT="pigeon")
    with pytest.raises(ConfigurationError):
        engine.run(until=engine.idle_for(0))


def test_the_end_is_told_once_and_not_when_the_engine_starts_again(receiver: Receiver, caplog: Any) -> None:
    armed, told = threading.Event(), []

    def strike(sql: str) -> None:
        if armed.is_set():
            armed.clear()
            raise SystemExit("a wrapper of the host")

    def until(progress: engine.Progress) -> bool:
        assert progress.seconds < 20.0, "it never happened"
        return "starts again" in caplog.text and all_succeeded()

    due_delivery(endpoint_at(receiver))
    armed.set()
    with watched_statements(strike):
        engine.run(until=until, on_retired=told.append)
    assert not armed.is_set()
    assert len(told) == 1
    assert told[0].requests >= 1
    assert EndpointQueue.objects.get().crash_takeovers == 0


def never_starting(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """No engine starts. Return what is set when one has failed."""
    failed = threading.Event()

    def fail() -> Any:
        failed.set()
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(engine, "open_transport", fail)
    return failed


def test_a_shutdown_ends_the_pause_before_a_start(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = never_starting(monkeypatch)
    told: list[engine.Progress] = []
    running = InThread(
        lambda: engine.run(
            stop=celery_worker.Shutdown(), on_retired=told.append, options=EngineOptions(first_restart_pause=30.0)
        )
    )
    assert failed.wait(PATIENCE)
    celery_worker._end()
    try:
        began = time.monotonic()
        running.result()
        assert time.monotonic() - began < 10.0
        assert len(told) == 1
    finally:
        celery_worker._begin()


def test_a_budget_that_is_used_up_ends_the_pause_before_a_start(monkeypatch: pytest.MonkeyPatch) -> None:
    never_starting(monkeypatch)
    began = time.monotonic()
    engine.run(until=engine.budget(0.3, linger=60.0), options=EngineOptions(first_restart_pause=30.0))
    assert time.monotonic() - began < 10.0


def test_waiting_for_a_shutdown_ends_with_it() -> None:
    shutdown = celery_worker.Shutdown()
    assert not shutdown.wait(0.05)
    waiting = InThread(lambda: shutdown.wait(30.0))
    time.sleep(0.1)
    celery_worker._end()
    try:
        began = time.monotonic()
        assert waiting.result() is True
        assert time.monotonic() - began < 10.0
    finally:
        celery_worker._begin()


# --- the caller's connection ------------------------------------------------------------------------------------------


def test_the_callers_connection_is_given_back_while_the_engine_runs(receiver: Receiver) -> None:
    due_delivery(endpoint_at(receiver))
    used: list[bool] = []

    def until(progress: engine.Progress) -> bool:
        used.append(connection.connection is not None)
        return progress.recorded == 1

    engine.run(until=until)
    assert not any(used)
    eventually(all_succeeded)


def test_the_callers_connection_is_left_alone_inside_a_transaction() -> None:
    with transaction.atomic():
        Delivery.objects.exists()
        before = connection.connection
        engine.run(until=lambda progress: progress.seconds > 0.3)
        assert connection.connection is before is not None
        Delivery.objects.exists()
    assert not connection.needs_rollback


def test_a_connection_without_autocommit_is_left_alone() -> None:
    transaction.set_autocommit(False)
    try:
        Delivery.objects.exists()
        before = connection.connection
        engine.run(until=lambda progress: progress.seconds > 0.3)
        assert connection.connection is before is not None
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)


def test_what_is_being_leased_when_the_engine_is_asked_to_stop_is_released(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Such a queue was kept for as long as a lease may last, and the engine ended without it."""
    stop, load = threading.Event(), Lease._load_configs

    def stop_meanwhile(lease: Lease, *args: Any) -> Any:
        stop.set()
        eventually(lambda: stopping.called)
        return load(lease, *args)

    stopping = create_autospec(Window.stop_all, side_effect=Window.stop_all)
    monkeypatch.setattr(Window, "stop_all", stopping)
    monkeypatch.setattr(Lease, "_load_configs", stop_meanwhile)
    due_delivery(endpoint_at(receiver))
    engine.run(stop=stop)
    assert "before it had released all queues" not in caplog.text
    assert EndpointQueue.objects.get().holder_id is None
    assert not receiver.requests


def test_a_thread_that_cannot_be_started_is_tried_again(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    start, refused = engine.EngineThread.start, []

    def refuse(self: Any) -> None:
        if len(refused) < 2 and self.name == "webhooks-sending":
            refused.append(self)
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(engine.EngineThread, "start", refuse)
    due_delivery(endpoint_at(receiver))
    deliver_until(all_succeeded)
    assert len(refused) == 2
    assert "the sending thread cannot be started" in caplog.text


def test_an_engine_that_was_stopped_before_it_has_a_thread_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(engine.EngineThread, "start", refuse)
    stop = threading.Event()
    stop.set()
    assert engine.run(stop=stop).requests == 0
