"""The Celery tasks: what they are called, when they return at once, and when a deliver leaves a hint for the next one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from project.celery import app
from tests import celery_hints
from tests.celery_hints import HINTS, alive
from tests.customer import Customer, attempts, statuses, the_delivery
from tests.factories import EngineFactory
from tests.receiver_behaviours import Delay
from webhooks_app import celery_worker, tasks
from webhooks_app.engine import run as engine
from webhooks_app.events import worker_hint
from webhooks_app.maintenance.schedule import PERIODIC
from webhooks_app.models import Delivery, Engine, database_now

pytestmark = pytest.mark.django_db(transaction=True)

customer = celery_hints.customer

NAMES = {f"webhooks_app.{name}" for name in ("deliver", "sweep", "repair", "send_notifications", "prune")}


@pytest.fixture
def eager(settings: Any, customer: Customer) -> Iterator[None]:
    """As a host's tests have it: tasks run where they are called."""
    settings.WEBHOOKS = {**settings.WEBHOOKS, "WAKE_FUNCTION": "webhooks_app.tasks.send_hint"}
    app.conf.task_always_eager = True
    yield
    app.conf.task_always_eager = False


# --- what there is ----------------------------------------------------------------------------------------------------


def test_the_tasks_are_registered_under_their_names():
    app.loader.import_default_modules()
    assert {name for name in app.tasks if name.startswith("webhooks_app.")} == NAMES


def test_every_task_is_a_hint_acknowledged_early_and_without_a_result():
    for name in NAMES:
        task = app.tasks[name]
        assert (task.acks_late, task.ignore_result) == (False, True)


def test_everything_in_the_schedule_is_a_task():
    assert {periodic.name for periodic in PERIODIC} <= NAMES


# --- deliver ----------------------------------------------------------------------------------------------------------


def test_deliver_sends_what_is_due_and_returns_when_nothing_is(customer):
    customer.endpoint()
    customer.emit_several(20)
    tasks.deliver()
    assert statuses() == {"succeeded"}
    assert not Engine.objects.exists()


def test_deliver_returns_at_once_where_all_engine_slots_are_taken(customer, settings):
    settings.WEBHOOKS = {**settings.WEBHOOKS, "MAX_CELERY_ENGINES": 2}
    customer.endpoint()
    customer.emit()
    HINTS.clear()
    alive(), alive()
    tasks.deliver()
    assert customer.received == []
    assert HINTS == [], "those that run will see the work; a hint from here would go round for ever"


def test_engines_that_are_dead_or_about_to_end_take_no_slot(customer, settings):
    settings.WEBHOOKS = {**settings.WEBHOOKS, "MAX_CELERY_ENGINES": 1}
    EngineFactory(alive_until=database_now("default") - timedelta(minutes=1))
    alive(draining=True)
    customer.endpoint()
    customer.emit()
    tasks.deliver()
    assert len(customer.received) == 1


def test_a_deliver_whose_time_is_up_leaves_a_hint_for_the_next_one(customer, configure):
    configure(DELIVER_SECONDS=0.3, MAX_IN_FLIGHT=1)
    customer.endpoint()
    customer.receiver.on("/hook", Delay(0.1))
    customer.emit_several(30)
    HINTS.clear()
    time.sleep(0.05)  # or it is one with those of emit
    tasks.deliver()
    assert len(HINTS) == 1
    assert Delivery.objects.pending().exists()
    assert len(customer.received) == len(attempts()), "and everything in flight was recorded"
    configure(DELIVER_SECONDS=30.0, MAX_IN_FLIGHT=8)
    tasks.deliver()
    assert statuses() == {"succeeded"}
    assert len(customer.received) == 30


def test_a_deliver_that_ran_out_of_work_leaves_no_hint(customer):
    customer.endpoint()
    customer.emit()
    HINTS.clear()
    tasks.deliver()
    assert HINTS == []


def test_a_deliver_looks_once_more_when_its_place_is_free(customer, monkeypatch):
    """A hint that came after its last look found the place taken and went away."""
    hand_over = tasks._hand_over

    def event_in_between(slot: Any, progress: engine.Progress) -> None:
        assert Engine.objects.get().draining
        customer.emit()
        HINTS.clear()
        worker_hint.reset()
        hand_over(slot, progress)

    monkeypatch.setattr(tasks, "_hand_over", event_in_between)
    customer.endpoint()
    tasks.deliver()
    assert len(HINTS) == 1


def test_a_worker_that_shuts_down_ends_its_deliver_and_leaves_no_hint(customer):
    customer.endpoint()
    customer.emit()
    HINTS.clear()
    celery_worker._end()
    try:
        begun = time.monotonic()
        tasks.deliver()
        assert time.monotonic() - begun < 3
        assert HINTS == []
        assert not Engine.objects.exists()
    finally:
        celery_worker._begin()
    tasks.deliver()
    assert statuses() == {"succeeded"}


@pytest.mark.parametrize("task", [tasks.repair, tasks.send_notifications, tasks.prune])
def test_the_other_tasks_run_where_there_is_nothing_to_do(customer, task):
    task()


# --- eager ------------------------------------------------------------------------------------------------------------


def test_with_eager_tasks_an_emit_delivers_before_it_returns(customer, eager):
    customer.endpoint()
    with transaction.atomic():
        customer.emit()
        assert customer.received == []
    assert the_delivery().status == "succeeded"
    customer.emit({"n": 2})
    assert customer.numbers == [1, 2]


def test_with_eager_tasks_a_rollback_sends_nothing(customer, eager):
    customer.endpoint()
    with transaction.atomic():
        customer.emit()
        transaction.set_rollback(True)
    assert customer.received == []
