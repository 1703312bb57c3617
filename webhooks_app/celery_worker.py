"""The Celery worker that runs the tasks: its slots for delivery, its time limits, and whether it is shutting down.

Celery's signals keep this up to date. Outside a worker, every task gets a slot.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import math
import multiprocessing
import threading
import time
from collections.abc import Iterator
from typing import Any

from celery import current_app
from celery.signals import celeryd_after_setup, worker_init, worker_shutting_down

from webhooks_app.conf import settings
from webhooks_app.exceptions import ConfigurationError
from webhooks_app.process_log import log_once_a_minute
from webhooks_app.worker_slots import Slot, WorkerSlots

logger = logging.getLogger(__name__)

#: An engine ends this long before a Celery time limit, so that its last requests can end and be recorded (seconds).
_TIME_LIMIT_MARGIN = 10.0
#: A time limit below this leaves an engine no time to deliver (seconds).
_SHORTEST_TIME_LIMIT = 15.0
#: Seconds between two checks of `_flag` while waiting for the shutdown.
_LOOK_AGAIN = 0.25

#: The worker's slots; None outside a worker that delivers.
_slots: WorkerSlots | None = None
#: The worker's own limits (`--time-limit`, `--soft-time-limit`), for tasks that have none. Seconds.
_worker_time_limits: tuple[float | None, ...] = ()
# On SIGTERM Celery's main process waits for its children's tasks to end, but does not notify them. A byte of shared memory,
# created before the children are forked, does: without it, a shutdown would take as long as a delivery task may run.
_flag: Any = multiprocessing.RawValue(ctypes.c_bool, False)


def delivers() -> bool:
    """Return whether this process belongs to a worker that takes delivery tasks."""
    return _slots is not None


@contextlib.contextmanager
def take_slot() -> Iterator[Slot | None]:
    """Take a slot of this worker for delivery, as a context manager; None if the remaining slots are for other tasks."""
    slot = Slot.unlimited() if _slots is None else _slots.take()
    try:
        yield slot
    finally:
        if slot is not None:
            slot.give_back()


def seconds_before_time_limit(task: Any) -> float:
    """Return how long an engine can run before Celery's time limits end it; infinity if there are none."""
    limits = [*(task.request.timelimit or ()), task.time_limit, task.soft_time_limit, *_worker_time_limits]
    shortest = min((float(limit) for limit in limits if limit), default=math.inf)
    if shortest < _SHORTEST_TIME_LIMIT:
        log_once_a_minute(
            logging.ERROR,
            "time limit",
            f"Celery ends tasks after {shortest:g} s, which leaves delivery no time. Set task_time_limit and "
            f"task_soft_time_limit to {_SHORTEST_TIME_LIMIT:g} s or more, or run `manage.py webhooks_deliver`.",
        )
    return max(shortest - _TIME_LIMIT_MARGIN, 1.0)


def shutting_down() -> bool:
    """Return whether this worker was asked to stop."""
    return bool(_flag.value)


class Shutdown(threading.Event):
    """An object with the interface of an event, which is set when the worker shuts down."""

    def is_set(self) -> bool:
        return shutting_down()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the shutdown by polling the shared byte, because nothing wakes a waiting process."""
        until = math.inf if timeout is None else time.monotonic() + timeout
        while not self.is_set() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _LOOK_AGAIN))
        return self.is_set()


# --- Celery's signals -------------------------------------------------------------------------------------------------


@celeryd_after_setup.connect
def _prepare_slots(instance: Any, **_: object) -> None:
    """Compute how many of the worker's children may deliver, before they are forked."""
    global _slots, _worker_time_limits
    try:
        delivery_queue = settings().CELERY_QUEUE
    except ConfigurationError as error:
        log_once_a_minute(logging.ERROR, "delivery", f"delivery cannot run: {error}")
        return
    queues = set(current_app.amqp.queues.consume_from)
    if delivery_queue not in queues:
        return
    alone = "solo" in str(instance.pool_cls)  # has one slot, regardless of its concurrency
    concurrency = 1 if alone else int(instance.max_concurrency or instance.concurrency)
    _worker_time_limits = (instance.time_limit, instance.soft_time_limit)
    _slots = WorkerSlots(concurrency, shared=len(queues) > 1)
    _log_slots(_slots, concurrency, delivery_queue)


def _log_slots(slots: WorkerSlots, concurrency: int, delivery_queue: str) -> None:
    if slots.shared and concurrency == 1:
        logger.error(
            "webhooks: this worker has one slot for webhooks and for other queues: delivery and your tasks keep each other "
            "waiting. Start a worker of its own (`celery worker -Q %s`), and take that queue out of this one's -Q.",
            delivery_queue,
        )
    logger.info("webhooks: this worker runs up to %d of %d slots as delivery engines", slots.count, concurrency)


@worker_init.connect
def _begin(**_: object) -> None:
    _flag.value = False


@worker_shutting_down.connect
def _end(**_: object) -> None:
    _flag.value = True
