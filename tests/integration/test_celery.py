"""The Celery tasks: what they are called, when they return at once, which hints they leave, and where a hint goes."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from project.celery import app
from tests.customer import Customer, attempts, statuses, the_delivery
from tests.factories import EngineFactory
from tests.receiver import Delay
from webhooks_app import celery_worker, tasks
from webhooks_app.engine import run as engine
from webhooks_app.events import worker_wakeup
from webhooks_app.maintenance.schedule import PERIODIC
from webhooks_app.models import Delivery, EndpointQueue, Engine, database_now
from webhooks_app.models.ids import new_id
from webhooks_app.worker_slots import WorkerSlots

pytestmark = pytest.mark.django_db(transaction=True)

NAMES = {f"webhooks_app.{name}" for name in ("deliver", "sweep", "repair", "send_notifications", "prune")}
#: A hint for each time that `note_hint` was called.
HINTS: list[float] = []


def note_hint() -> None:
    HINTS.append(time.monotonic())


@pytest.fixture
def customer(settings: Any) -> Iterator[Customer]:
    settings.WEBHOOKS = {
        **settings.WEBHOOKS,
        "WAKE_FUNCTION": f"{__name__}.note_hint",
        "CELERY_QUEUE": f"webhooks-test-{secrets.token_hex(4)}",
    }
    worker_wakeup.reset()
    with Customer() as customer:
        HINTS.clear()
        yield customer
    worker_wakeup.reset()


@pytest.fixture
def eager(settings: Any, customer: Customer) -> Iterator[None]:
    """As a host's tests have it: tasks run where they are called."""
    settings.WEBHOOKS = {**settings.WEBHOOKS, "WAKE_FUNCTION": "webhooks_app.tasks.send_hint"}
    app.conf.task_always_eager = True
    yield
    app.conf.task_always_eager = False


def alive(**values: Any) -> Engine:
    return EngineFactory(alive_until=database_now("default") + timedelta(minutes=1), **values)


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
        worker_wakeup.reset()
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


# --- sweep and the others ---------------------------------------------------------------------------------------------


def hints_in(queue: str) -> list[Any]:
    """The messages that are in the broker's queue."""
    found = []
    with app.connection_for_read() as link:
        bound = app.amqp.queues[queue].bind(link.default_channel)
        while (message := bound.get(no_ack=True)) is not None:
            found.append(message)
    return found


@pytest.fixture
def queue(customer: Customer, settings: Any) -> Iterator[str]:
    """The name of the hints' queue, which is there and empty."""
    name = settings.WEBHOOKS["CELERY_QUEUE"]
    with app.connection_for_write() as link:
        declared = app.amqp.queues[name].bind(link.default_channel)
        declared.declare()
        yield name
        declared.delete()
        declared.exchange.delete()
    app.close()


def test_a_sweep_leaves_a_hint_for_events_that_nobody_took(customer, queue):
    customer.endpoint()
    customer.emit()
    tasks.sweep()
    assert len(hints_in(queue)) == 1


def test_a_sweep_leaves_a_hint_for_a_queue_that_is_due(customer, queue):
    customer.endpoint()
    customer.receiver.on("/hook", 500)
    customer.emit()
    tasks.deliver()
    tasks.sweep()
    assert hints_in(queue) == [], "its retry is not due yet"
    EndpointQueue.objects.update(due_at=database_now("default"))
    tasks.sweep()
    assert len(hints_in(queue)) == 1


def test_a_sweep_leaves_no_hint_where_a_living_engine_has_the_queue(customer, queue):
    customer.endpoint()
    EndpointQueue.objects.update(due_at=database_now("default"), holder_id=alive().pk)
    tasks.sweep()
    assert hints_in(queue) == []


@pytest.mark.parametrize("row", [True, False], ids=["with its row", "without a row"])
def test_a_sweep_frees_what_a_dead_engine_held_and_leaves_a_hint(customer, queue, row):
    customer.endpoint()
    customer.emit()
    tasks.deliver()
    holder = EngineFactory(alive_until=database_now("default") - timedelta(seconds=1)).pk if row else new_id()
    EndpointQueue.objects.update(holder_id=holder)
    tasks.sweep()
    freed = EndpointQueue.objects.get()
    assert (freed.holder_id, freed.crash_takeovers) == (None, int(row)), "how one without a row ended, nobody knows"
    assert not Engine.objects.exists()
    assert len(hints_in(queue)) == 1


def test_sweeps_that_piled_up_while_no_worker_ran_are_passed_over(customer, queue, monkeypatch):
    customer.endpoint()
    customer.emit()
    with contextlib.closing(WorkerSlots(2, shared=True)) as slots:
        monkeypatch.setattr(celery_worker, "_slots", slots)
        for _ in range(5):
            tasks.sweep()
    assert len(hints_in(queue)) == 1


@pytest.mark.parametrize("task", [tasks.repair, tasks.send_notifications, tasks.prune])
def test_the_other_tasks_run_where_there_is_nothing_to_do(customer, task):
    task()


# --- the hint ---------------------------------------------------------------------------------------------------------


def test_a_hint_is_a_deliver_in_the_queue_of_the_settings_and_does_not_expire(customer, queue):
    tasks.send_hint()
    [message] = hints_in(queue)
    assert message.headers["task"] == "webhooks_app.deliver"
    assert message.headers["expires"] is None, "a worker whose clock is ahead would discard it"
    args, kwargs, _ = message.decode()
    assert (list(args), kwargs) == ([], {}), "the database is the truth"


def test_hints_do_not_pile_up_while_nobody_takes_them(customer, queue, monkeypatch):
    for _ in range(20):
        tasks.send_hint()
    assert len(hints_in(queue)) == 1
    tasks.send_hint()
    assert len(hints_in(queue)) == 1, "that one was taken, so the next one is left at once"
    monkeypatch.setattr(tasks, "HINT_REPEAT_SECONDS", 0.0)
    for _ in range(3):
        tasks.send_hint()
    assert len(hints_in(queue)) == 3, "after a while it is repeated, for what lies there may be something else"


def test_a_sweep_leaves_its_hint_whatever_lies_in_the_queue(customer, queue):
    customer.endpoint()
    customer.emit()
    tasks.send_hint()
    tasks.sweep()
    assert len(hints_in(queue)) == 2


def test_emit_leaves_its_hint_in_the_broker_when_it_commits(customer, queue, settings):
    settings.WEBHOOKS = {**settings.WEBHOOKS, "WAKE_FUNCTION": "webhooks_app.tasks.send_hint"}
    customer.endpoint()
    with transaction.atomic():
        customer.emit_several(10)
        assert hints_in(queue) == []
    assert len(hints_in(queue)) == 1, "one is enough for all"


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
