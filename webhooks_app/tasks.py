"""The Celery tasks, and the hints that start them. Tasks have no arguments: the database is authoritative.

Tasks are hints, so they are acknowledged early and ignore their results. They do not expire: each task asks the database for
work, and a worker whose clock is ahead would discard every message. One task delivers a whole batch, never a single
delivery: a no-op task costs about as much as a delivery does here.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import math
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial, wraps
from typing import Any

from celery import current_app, shared_task
from celery.exceptions import SoftTimeLimitExceeded
from celery.signals import worker_process_shutdown
from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError, connections

from webhooks_app import celery_worker
from webhooks_app.conf import settings
from webhooks_app.database_errors import one_line
from webhooks_app.engine import run as engine
from webhooks_app.engine.options import FROZEN_AFTER, EngineOptions
from webhooks_app.engine.sweep import repair as repair_queues
from webhooks_app.engine.sweep import sweep as sweep_queues
from webhooks_app.engine.sweep import work_waits
from webhooks_app.events import worker_hint
from webhooks_app.exceptions import ConfigurationError
from webhooks_app.maintenance.prune import prune as prune_old_rows
from webhooks_app.models import Engine, database_now
from webhooks_app.models.database import database_alias
from webhooks_app.notifications import send
from webhooks_app.process_log import log_configuration_errors, log_once_a_minute
from webhooks_app.worker_slots import PAUSE_SECONDS, Slot

#: While the queue contains messages, a process sends a hint only this often (seconds).
HINT_REPEAT_SECONDS = 30.0


# --- delivery ---------------------------------------------------------------------------------------------------------

#: The timer that looks for work, and sends a hint if needed, after the pause of a lent slot.
_put_off: threading.Timer | None = None


@shared_task(bind=True, name="webhooks_app.deliver", ignore_result=True, acks_late=False)
def deliver(task: Any) -> None:
    """Run one engine for DELIVER_SECONDS at most, or until nothing has been due for LINGER_SECONDS."""
    with _quietly("deliver"), celery_worker.take_slot() as slot:
        if slot is None:
            return
        if engines_running() >= settings().MAX_CELERY_ENGINES:
            slot.give_back(pause=False)
            return
        log_configuration_errors()
        _run_engine(task, slot)


def _run_engine(task: Any, slot: Slot) -> None:
    seconds = min(settings().ENGINE.DELIVER_SECONDS, slot.seconds, celery_worker.seconds_before_time_limit(task))
    engine.run(
        until=engine.budget(seconds, linger=settings().ENGINE.LINGER_SECONDS),
        stop=celery_worker.Shutdown(),
        kind="celery",
        on_retired=partial(_hand_over, slot),
        options=EngineOptions(interrupts=(SoftTimeLimitExceeded,), frozen_after=FROZEN_AFTER),
    )
    if slot.lent and not celery_worker.shutting_down():
        # A hint that arrives during the pause has no effect.
        global _put_off
        _put_off = threading.Timer(PAUSE_SECONDS + 0.1, _hint_where_work_waits)
        _put_off.daemon = True
        _put_off.start()


@worker_process_shutdown.connect
def _wait_for_put_off_hint(**_: object) -> None:
    """Wait until a delayed hint is sent if Celery replaces this process after its task (`worker_max_tasks_per_child`,
    `worker_max_memory_per_child`)."""
    if _put_off is not None and not celery_worker.shutting_down():
        _put_off.join(PAUSE_SECONDS + 1.0)


def _hint_where_work_waits() -> None:
    try:
        if _work_waits():
            worker_hint.send_hint()
    finally:
        connections[database_alias()].close()  # this thread's own


def _hand_over(slot: Slot, progress: engine.Progress) -> None:
    """If there is more to do, start a new task while this task's last requests end.

    Also check once more after idling: a hint that arrived since the last check found this engine's place taken and had no
    effect. From now on the place is free, except for a lent slot whose time is up: other tasks get it first."""
    if slot.lent and not progress.idle:
        return
    pauses = slot.give_back(pause=False)
    if not pauses and not celery_worker.shutting_down() and (not progress.idle or _work_waits()):
        worker_hint.send_hint()


def _work_waits() -> bool:
    try:
        return work_waits(database_now(), database_alias())
    except DatabaseError:
        return False  # a sweep finds the work when the database is back


def engines_running() -> int:
    """Return the engines that are alive and take work."""
    return Engine.objects.alive(database_now()).filter(draining=False).count()


# --- periodic tasks ---------------------------------------------------------------------------------------------------


def _periodic(*, soft: int, hard: int, gap: float) -> Callable[[Callable[[], object]], Any]:
    """Decorator: a periodic task with time limits, in seconds. Messages that piled up while no worker ran would repeat the same
    work, so a worker skips those that arrive within `gap` seconds of the end of the last run."""

    def decorate(work: Callable[[], object]) -> Any:
        name = work.__name__
        last_run = multiprocessing.RawValue(ctypes.c_double, -math.inf)

        @shared_task(
            name=f"webhooks_app.{name}", ignore_result=True, acks_late=False, soft_time_limit=soft, time_limit=hard
        )
        @wraps(work)
        def run() -> None:
            if celery_worker.delivers():
                now = time.monotonic()
                if now < last_run.value + gap:
                    return
                last_run.value = now
            try:
                with _quietly(name):
                    work()
            finally:
                if celery_worker.delivers():
                    last_run.value = time.monotonic()

        return run

    return decorate


@_periodic(soft=30, hard=60, gap=1.0)
def sweep() -> None:
    """Release the queues of dead engines, and send a hint if work is waiting."""
    if sweep_queues().work_waits:
        _publish_hint()


@_periodic(soft=120, hard=180, gap=60.0)
def repair() -> None:
    """Compare idle queues with their deliveries."""
    repair_queues()


@_periodic(soft=120, hard=150, gap=5.0)
def send_notifications() -> None:
    """Send the notification e-mails that are due."""
    send.send_notifications(stopping=celery_worker.shutting_down)


@_periodic(soft=600, hard=660, gap=60.0)
def prune() -> None:
    """Remove data older than RETENTION_DAYS."""
    prune_old_rows()


@contextlib.contextmanager
def _quietly(name: str) -> Iterator[None]:
    """Log one line instead of raising if the task cannot work at the moment. The next task tries again."""
    try:
        yield
    except ConfigurationError as error:
        log_once_a_minute(logging.ERROR, name, f"{name} cannot run: {error}")
    except DatabaseError as error:
        key = f"{name} {type(error).__name__}"
        message = f"{name} could not use the database ({type(error).__name__}: {one_line(error)})"
        away = isinstance(error, (OperationalError, InterfaceError))
        log_once_a_minute(logging.WARNING, key, message, exc_info=None if away else error)
    except SoftTimeLimitExceeded:
        log_once_a_minute(logging.WARNING, f"{name} limit", f"{name} was ended by its time limit; the next one goes on")


# --- hints ------------------------------------------------------------------------------------------------------------

_hinted_at = -math.inf


def send_hint() -> None:
    """Ask a worker to look for work. May raise what the broker's client raises; `events.worker_hint` limits how long it may take.

    A message in the queue is read after this commit, so its task finds the work. While the queue contains messages, a process
    repeats its hint only every HINT_REPEAT_SECONDS: without a consumer, that is 120 messages per hour and process.
    """
    global _hinted_at
    now = time.monotonic()
    if now < _hinted_at + HINT_REPEAT_SECONDS and not _runs_inline() and _message_lies_there():
        return
    _hinted_at = now
    _publish_hint()


def _publish_hint() -> None:
    deliver.apply_async(queue=settings().CELERY_QUEUE, retry=False, ignore_result=True)


def _message_lies_there() -> bool:
    waiting: list[int] = []
    with current_app.producer_or_acquire() as producer:
        queue = current_app.amqp.queues[settings().CELERY_QUEUE](producer.channel)
        queue.on_declared = lambda _name, messages, _consumers: waiting.append(messages)
        queue.queue_declare()  # as Celery does before it publishes; the broker answers with the number of messages
    return any(waiting)


def _runs_inline() -> bool:
    """Return whether Celery runs tasks inline (`task_always_eager`): then the hint itself delivers, on the caller's thread."""
    return bool(current_app.conf.task_always_eager)


send_hint.runs_inline = _runs_inline  # type: ignore[attr-defined]
