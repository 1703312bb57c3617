"""Sweep: find work left behind by a lost hint, a dead engine or a bug. Run every few seconds by Celery's beat."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from django.db import DatabaseError
from django.db.models import F, OuterRef, Subquery

from webhooks_app import telemetry
from webhooks_app.conf import settings
from webhooks_app.database_errors import is_outage
from webhooks_app.db import divided, in_fresh_transaction
from webhooks_app.engine.numbering import assign_missing_sequences
from webhooks_app.engine.reaper import (
    Released,
    release_dead_engines,
    release_queues_of,
    release_queues_without_engine,
    takeover_grace_seconds,
)
from webhooks_app.engine.sql import store_for
from webhooks_app.log_thread import engine_logger
from webhooks_app.models import (
    Delivery,
    Endpoint,
    EndpointQueue,
    EndpointStatus,
    Engine,
    Event,
    database_now,
)
from webhooks_app.models.database import database_alias
from webhooks_app.models.ids import public_id
from webhooks_app.models.lookups import any_of

logger = engine_logger(__name__)

_REPAIR_CHUNK = 500
#: How many queues one statement compares with their deliveries.
_COMPARED_AT_ONCE = 5000
_LOCK_TIMEOUT = 1.0  # seconds
#: A queue may be woken late, if another transaction has locked its row or the engine has died.
_OWED_AT_MOST = timedelta(minutes=1)


@dataclass(slots=True)
class Swept:
    """The result of a sweep. `work_waits`: something is due that no engine holds; the caller sends a hint."""

    freed: int = 0
    work_waits: bool = False


class Repaired(NamedTuple):
    """The number of queues that a repair woke, and of those that it could not check."""

    queues: int = 0
    skipped: int = 0


def sweep(*, using: str | None = None) -> Swept:
    """Release the queues of dead engines, and return whether work is waiting.

    If an engine has missed most of its heartbeats, this waits for a quarter of HEARTBEAT_SECONDS before it releases them.
    """
    alias = using or database_alias()
    now = database_now(alias)
    released = _release_dead_engines(now, alias)
    freed = released.queues + release_queues_without_engine(alias)
    # A dead engine may not have woken a queue. Only its row shows that: it stays until all queues are compared.
    if released.engines and not repair_free(alias).skipped:
        release_queues_of(alias, released.engines, crashed=False, expired=True)
    return Swept(freed=freed, work_waits=work_waits(database_now(alias), alias))


def _release_dead_engines(now: datetime, using: str) -> Released:
    """Release the queues of dead engines, and keep the engines' rows.

    Check twice: after an outage of the database all rows have expired, and their engines are about to beat again.

    Between the two checks, every live engine has the time for a heartbeat. The first check includes the rows that expire
    until the second, so that a dead engine is found no later than by a single check.
    """
    seconds = takeover_grace_seconds(settings().ENGINE.HEARTBEAT_SECONDS)
    second_look = now + timedelta(seconds=seconds)
    if not Engine.objects.using(using).expired(second_look).exists():
        return Released()
    time.sleep(seconds)
    if database_now(using) < now:  # it was set back, and not every live engine has had the time for a heartbeat since
        return Released()
    return release_dead_engines(using, second_look, keep_row=True)


def work_waits(now: datetime, using: str) -> bool:
    """Return whether anything is due that no engine holds."""
    due = EndpointQueue.objects.using(using).filter(holder_id__isnull=True, due_at__lte=now)
    return Event.objects.using(using).pending().exists() or due.exists()


def repair(*, using: str | None = None) -> int:
    """Compare every free queue with its pending deliveries (every 10 minutes); correct and count those that would be woken
    too late.

    In a correct program the count is 0: each one is a lost wake-up, and logged as an error. Afterwards, endpoints that have no
    queue get one.
    """
    alias = using or database_alias()
    repaired = repair_free(alias)
    _create_missing_queues(alias)
    return repaired.queues


def _create_missing_queues(using: str) -> None:
    """Create missing queues: an endpoint created by a fixture or in a shell has none, and would never receive anything."""
    endpoints = Endpoint.objects.using(using).filter(queue__isnull=True).exclude(status=EndpointStatus.DELETED)
    created = 0
    # One by one: if a row is locked or refused, the others still get their queues.
    for endpoint_id in list(endpoints.order_by("pk").values_list("pk", flat=True)):
        try:
            work = partial(_create_queue, endpoint_id, using)
            created += in_fresh_transaction(work, using, lock_timeout=_LOCK_TIMEOUT)
        except DatabaseError as error:
            if is_outage(error):
                raise
            logger.warning("webhooks: no queue was created for %s: %s", public_id("wh", endpoint_id), error)
    if created:
        logger.warning(
            "webhooks: %d endpoint(s) had no queue, so that nothing was sent to them. They have one now. Create endpoints with "
            "`create_endpoint`, the API or the pages.",
            created,
        )


def _create_queue(endpoint_id: uuid.UUID, using: str) -> bool:
    """Create the endpoint's queue. Return False if another process was faster."""
    endpoint = Endpoint.objects.using(using).filter(pk=endpoint_id).first()
    if endpoint is None:
        return False
    queues = EndpointQueue.objects.using(using)
    if queues.filter(pk=endpoint_id).exists():
        return False
    queues.create_for([endpoint])
    most = store_for(using).limits.deliveries
    while assign_missing_sequences(endpoint_id, using, most) == most:
        pass  # nobody else can see the queue's row yet, so nobody waits for it
    store_for(using).set_due([endpoint_id])
    return True


def repair_free(using: str) -> Repaired:
    """Wake the queues that would be woken too late, and return how many were skipped because another transaction has locked
    their rows."""
    repaired, now = Repaired(), database_now(using)

    def repair_these(ids: list[uuid.UUID]) -> None:
        nonlocal repaired
        more = in_fresh_transaction(partial(_repair, ids, using), using, lock_timeout=_LOCK_TIMEOUT)
        repaired = Repaired(repaired.queues + more.queues, repaired.skipped + more.skipped)

    for suspicious in _suspicious(now, using):
        fifo = EndpointQueue.objects.using(using).filter(any_of("endpoint_id", suspicious), fifo=True)
        for endpoint_id in list(fifo.values_list("endpoint_id", flat=True)):
            _complete_order(endpoint_id, using)
        divided(repair_these, suspicious, _log_refused)
    return repaired


def _log_refused(endpoint_id: uuid.UUID, error: Exception) -> None:
    """Log a queue that the database refuses to change. It is not skipped: a later repair could not wake it either."""
    logger.error("webhooks: the queue of %s cannot be made due: %s", public_id("wh", endpoint_id), error)


def _complete_order(endpoint_id: uuid.UUID, using: str) -> None:
    """Number the deliveries of a FIFO queue that have no number, unless another transaction has locked a row."""
    most = store_for(using).limits.deliveries

    def number() -> int:
        queue = EndpointQueue.objects.using(using).filter(endpoint_id=endpoint_id)
        return assign_missing_sequences(endpoint_id, using, most) if queue.locked(skip_locked=True) else 0

    try:
        while in_fresh_transaction(number, using, lock_timeout=_LOCK_TIMEOUT) == most:
            pass
    except DatabaseError as error:
        if is_outage(error):
            raise
        logger.warning("webhooks: the order of %s was not completed: %s", public_id("wh", endpoint_id), error)


def _suspicious(now: datetime, using: str) -> Iterator[list[uuid.UUID]]:
    """Yield free queues with a pending delivery before their due time, a few at a time. Some are correct (a FIFO queue waits for
    its head)."""
    # One that is due will be leased in any case, whatever its earliest delivery.
    not_due = EndpointQueue.objects.using(using).filter(
        due_at__gt=now, holder_id__isnull=True, not_before__lt=F("due_at")
    )
    # One look-up in the index of pending deliveries for each queue. EXISTS might compare each queue with all of them.
    pending = Delivery.objects.using(using).pending().filter(endpoint_id=OuterRef("endpoint_id"))
    earliest = Subquery(pending.order_by("next_attempt_at", "id").values("next_attempt_at")[:1])
    after = uuid.UUID(int=0)
    while True:
        part = not_due.filter(endpoint_id__gt=after).order_by("endpoint_id")[:_COMPARED_AT_ONCE]
        rows = list(part.annotate(earliest=earliest).values_list("endpoint_id", "due_at", "earliest"))
        suspicious = [key for key, due_at, first in rows if first is not None and first < due_at]
        for start in range(0, len(suspicious), _REPAIR_CHUNK):
            yield suspicious[start : start + _REPAIR_CHUNK]
        if len(rows) < _COMPARED_AT_ONCE:
            return
        after = rows[-1][0]


def _repair(ids: Sequence[uuid.UUID], using: str) -> Repaired:
    """Recompute the due times, under the rows' locks; count those that became earlier."""
    free = EndpointQueue.objects.using(using).filter(endpoint_id__in=ids, holder_id__isnull=True)
    before = dict(free.locked(skip_locked=True).values_list("endpoint_id", "due_at"))
    store_for(using).set_due(list(before))
    after = dict(free.filter(endpoint_id__in=before).values_list("endpoint_id", "due_at"))
    woken = [due_at for endpoint_id, due_at in after.items() if due_at < before[endpoint_id]]
    overdue = database_now(using) - _OWED_AT_MOST
    if late := sum(due_at < overdue for due_at in woken):
        telemetry.count("repaired", late)
        logger.error("webhooks: %d queue(s) had slept through their work and were woken: a bug, please report", late)
    return Repaired(len(woken), free.exclude(endpoint_id__in=before).count())
