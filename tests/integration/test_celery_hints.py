"""The hints that the Celery tasks leave in the broker: when the sweep leaves one, and what a hint is."""

from __future__ import annotations

import contextlib
from datetime import timedelta

import pytest
from django.db import transaction

from tests import celery_hints
from tests.celery_hints import alive, hints_in
from tests.factories import EngineFactory
from webhooks_app import celery_worker, tasks
from webhooks_app.models import EndpointQueue, Engine, database_now
from webhooks_app.models.ids import new_id
from webhooks_app.worker_slots import WorkerSlots

pytestmark = pytest.mark.django_db(transaction=True)

customer = celery_hints.customer
queue = celery_hints.queue


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
