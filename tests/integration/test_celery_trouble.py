"""The Celery tasks in trouble: the database is away, the settings are wrong, a time limit is near. They come back quietly."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Iterator
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from celery.signals import worker_process_shutdown
from django.db import connection

from project.celery import app
from tests.customer import Customer, statuses
from tests.pipelines import eventually
from webhooks_app import celery_worker, process_log, tasks, worker_slots
from webhooks_app.engine import run as engine
from webhooks_app.events import worker_hint
from webhooks_app.models import Engine
from webhooks_app.worker_slots import WorkerSlots

pytestmark = pytest.mark.django_db(transaction=True)

#: A hint for each time that `note_hint` was called.
HINTS: list[float] = []


def note_hint() -> None:
    HINTS.append(time.monotonic())


@pytest.fixture
def customer(settings: Any) -> Iterator[Customer]:
    settings.WEBHOOKS = {**settings.WEBHOOKS, "WAKE_FUNCTION": f"{__name__}.note_hint"}
    worker_hint.reset()
    process_log.reset()
    with Customer() as customer:
        HINTS.clear()
        yield customer
    worker_hint.reset()


def logged(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What the app itself has logged."""
    return [record for record in caplog.records if record.name.startswith("webhooks_app")]


@pytest.mark.parametrize(
    ("soft", "hard", "seconds"), [(None, None, math.inf), (120, 150, 110), (None, 40, 30), (5, 9, 1)]
)
def test_an_engine_ends_before_celerys_time_limits(customer, caplog, monkeypatch, soft, hard, seconds):
    monkeypatch.setattr(tasks.deliver, "soft_time_limit", soft)
    monkeypatch.setattr(tasks.deliver, "time_limit", hard)
    assert celery_worker.seconds_before_time_limit(tasks.deliver) == seconds
    assert ("leaves delivery no time" in caplog.text) is (seconds == 1)


@pytest.mark.parametrize("name", ["sweep", "repair", "send_notifications", "prune"])
def test_every_periodic_task_has_time_limits(name):
    task = app.tasks[f"webhooks_app.{name}"]
    assert 0 < task.soft_time_limit < task.time_limit


@contextlib.contextmanager
def database_away() -> Iterator[None]:
    """Whoever connects meanwhile is refused."""
    name = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = (
        "/no/such/folder/database" if connection.vendor == "sqlite" else "no_such_database"
    )
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = name


@pytest.mark.parametrize("name", ["deliver", "sweep", "repair", "send_notifications", "prune"])
def test_a_task_comes_back_quietly_while_the_database_is_away(customer, caplog, name):
    HINTS.clear()
    with database_away():
        for _ in range(3):
            getattr(tasks, name)()
    [record] = logged(caplog)
    assert (record.levelname, record.exc_info) == ("WARNING", None)
    assert f"{name} could not use the database" in record.message
    assert HINTS == []


def test_settings_that_cannot_be_read_stop_delivery_with_one_line(customer, caplog, settings):
    settings.WEBHOOKS = {**settings.WEBHOOKS, "MAX_CELERY_ENGINE": 2}
    for _ in range(3):
        tasks.deliver()
    [record] = logged(caplog)
    assert "Did you mean 'MAX_CELERY_ENGINES'?" in record.message


def test_errors_of_the_system_checks_are_logged_once_and_delivery_goes_on(customer, caplog, settings):
    settings.WEBHOOKS = {**settings.WEBHOOKS, "API": {"RATE_LIMIT": "often"}, "TRANSPORT": "auto"}
    customer.endpoint()
    for number in (1, 2):
        customer.emit({"n": number})
        tasks.deliver()
    assert customer.numbers == [1, 2]
    assert caplog.text.count("webhooks_app.E010") == 1


def test_a_soft_time_limit_that_strikes_all_the_same_ends_the_engine(customer, monkeypatch):
    def until(progress: engine.Progress) -> bool:
        if progress.recorded:
            raise SoftTimeLimitExceeded
        return False

    monkeypatch.setattr(engine, "budget", lambda *_, **__: until)
    customer.endpoint()
    customer.emit()
    tasks.deliver()
    assert statuses() == {"succeeded"}
    assert not Engine.objects.exists()


def test_an_engine_that_ran_out_of_work_leaves_even_the_last_slot_to_the_next_one(customer, monkeypatch):
    customer.endpoint()
    with contextlib.closing(WorkerSlots(1, shared=True)) as slots:
        monkeypatch.setattr(celery_worker, "_slots", slots)
        for number in (1, 2):
            customer.emit({"n": number})
            tasks.deliver()
    assert customer.numbers == [1, 2]


def test_an_engine_whose_time_in_the_last_slot_is_up_lets_other_tasks_go_first(customer, monkeypatch):
    monkeypatch.setattr(worker_slots, "LENT_SECONDS_SHARED", 0.0)
    monkeypatch.setattr(tasks, "PAUSE_SECONDS", 0.0)
    customer.endpoint()
    customer.emit()
    HINTS.clear()
    with contextlib.closing(WorkerSlots(1, shared=True)) as slots:
        monkeypatch.setattr(celery_worker, "_slots", slots)
        tasks.deliver()
        assert slots.take() is None, "the slot is free for a moment"
    eventually(lambda: HINTS)


def test_an_event_during_the_pause_of_the_last_slot_is_delivered_after_it(customer, configure, monkeypatch):
    """The engine had run out of work, and its time was nearly up: a hint that comes now goes away again."""
    configure(LINGER_SECONDS=0.0)
    customer.endpoint()
    with contextlib.closing(WorkerSlots(1, shared=True)) as slots:
        monkeypatch.setattr(celery_worker, "_slots", slots)
        slots.take().give_back(pause=False)
        slots._used.value = worker_slots.LENT_SECONDS_SHARED - worker_slots.SHORTEST_SECONDS
        customer.emit({"n": 1})
        tasks.deliver()
        customer.emit({"n": 2})
        tasks.deliver()
        assert customer.numbers == [1]
        eventually(lambda: HINTS and HINTS[-1] > slots._paused_until.value)
        tasks.deliver()
    assert customer.numbers == [1, 2]


def test_a_process_that_celery_replaces_after_its_task_leaves_its_hint_first(customer, monkeypatch):
    """`worker_max_tasks_per_child=1`: what waited after the pause of the last slot waited for the next sweep."""
    monkeypatch.setattr(worker_slots, "LENT_SECONDS_SHARED", 0.0)
    monkeypatch.setattr(tasks, "PAUSE_SECONDS", 0.3)
    customer.endpoint()
    with contextlib.closing(WorkerSlots(1, shared=True)) as slots:
        monkeypatch.setattr(celery_worker, "_slots", slots)
        tasks.deliver()
        customer.emit()
        HINTS.clear()
        worker_process_shutdown.send(sender=None, pid=1, exitcode=0)
        assert HINTS
