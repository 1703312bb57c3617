"""Celery: the only module that imports it. Each task is one call; arguments are none, because the database is the truth.

Tasks are hints, so they are acknowledged early, expire, and ignore their results. Delivery is one task a batch of work,
never one a delivery: a no-op task costs about as much as a whole delivery does here.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import threading
from typing import Any

from celery import current_app, shared_task
from celery.signals import worker_init, worker_shutting_down
from django.db import Error as DatabaseError

from webhooks_app.actions.prune import prune as prune_old_rows
from webhooks_app.actions.tell import tell as tell_people
from webhooks_app.conf import settings
from webhooks_app.models import Engine, database_now
from webhooks_app.pipeline import engine, hint
from webhooks_app.pipeline.sweep import repair as repair_queues
from webhooks_app.pipeline.sweep import sweep as sweep_queues
from webhooks_app.pipeline.sweep import work_waits
from webhooks_app.pipeline.transactions import pipeline_alias

#: A hint that nobody took in this time (seconds) is worthless: a sweep has found the work meanwhile.
HINT_EXPIRES = 60


@shared_task(name="webhooks_app.deliver", ignore_result=True, acks_late=False)
def deliver() -> None:
    """Run one engine for DELIVER_SECONDS at most, or until nothing has been due for LINGER_SECONDS."""
    if engines_running() >= settings().ENGINES:
        return
    until = engine.budget(settings().DELIVER_SECONDS, linger=settings().LINGER_SECONDS)
    engine.run(until=until, stop=_Shutdown(), kind="celery", on_retired=_hand_over)


def _hand_over(progress: engine.Progress) -> None:
    """Where there is more to do, let a fresh task begin while this one's last requests end.

    Looked at once more also after idling: a hint that came since the last look found this engine's place taken and went
    away. From now on the place is free."""
    if not _shutting_down() and (not progress.idle or _work_waits()):
        hint.send()


def _work_waits() -> bool:
    alias = pipeline_alias()
    try:
        return work_waits(database_now(alias), alias)
    except DatabaseError:
        return True  # a hint too many does no harm


@shared_task(name="webhooks_app.sweep", ignore_result=True, acks_late=False)
def sweep() -> None:
    """Free what dead engines hold; where work waits for nobody, leave a hint."""
    if sweep_queues().work_waits:
        send_hint()


@shared_task(name="webhooks_app.repair", ignore_result=True, acks_late=False)
def repair() -> None:
    """Compare idle queues with their deliveries."""
    repair_queues()


@shared_task(name="webhooks_app.tell", ignore_result=True, acks_late=False)
def tell() -> None:
    """Send the e-mails that are due."""
    tell_people(database_now(pipeline_alias()))


@shared_task(name="webhooks_app.prune", ignore_result=True, acks_late=False)
def prune() -> None:
    """Remove what is older than RETENTION_DAYS."""
    prune_old_rows()


def send_hint() -> None:
    """Ask a worker to look for work. May raise what the broker's client raises; see `pipeline.hint` for who bounds it."""
    deliver.apply_async(queue=settings().CELERY_QUEUE, expires=HINT_EXPIRES, retry=False, ignore_result=True)


def _runs_inline() -> bool:
    """With `task_always_eager` the "hint" is the delivery itself, and belongs on the caller's thread."""
    return bool(current_app.conf.task_always_eager)


send_hint.runs_inline = _runs_inline  # type: ignore[attr-defined]


def engines_running() -> int:
    """Engines that are alive and take work."""
    alias = pipeline_alias()
    return Engine.objects.using(alias).filter(alive_until__gt=database_now(alias), retiring=False).count()


# --- a worker's warm shutdown --------------------------------------------------------------------------------------------
#
# On SIGTERM Celery's main process waits for its children's tasks to end, but does not tell them. A byte of shared memory,
# made before the children are forked, does: without it, a shutdown would take as long as a delivery task may run.

_flag: Any = multiprocessing.RawValue(ctypes.c_bool, False)


@worker_init.connect
def _begin(**_: object) -> None:
    _flag.value = False


@worker_shutting_down.connect
def _end(**_: object) -> None:
    _flag.value = True


def _shutting_down() -> bool:
    return bool(_flag.value)


class _Shutdown(threading.Event):
    """Looks like an event that is set when the worker shuts down."""

    def is_set(self) -> bool:
        return _shutting_down()
