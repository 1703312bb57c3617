"""Sweep: find what a lost hint, a dead engine or a mistake left behind. Run every few seconds by Celery's beat."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from django.db.models import Exists, F, OuterRef

from webhooks_app.models import Delivery, EndpointQueue, Event, database_now
from webhooks_app.pipeline.heartbeat import free_dead_engines, free_orphans
from webhooks_app.pipeline.store import store_for
from webhooks_app.pipeline.transactions import in_fresh_transaction, pipeline_alias

logger = logging.getLogger(__name__)

_REPAIR_CHUNK = 500


@dataclass(slots=True)
class Swept:
    """What a sweep found. `work_waits`: something is due that nobody holds; the caller leaves a hint."""

    freed: int = 0
    work_waits: bool = False


def sweep(*, using: str | None = None) -> Swept:
    """Free the queues of dead engines, and say whether work is waiting."""
    alias = using or pipeline_alias()
    now = database_now(alias)
    freed = free_dead_engines(alias, now) + free_orphans(alias)
    return Swept(freed=freed, work_waits=work_waits(now, alias))


def work_waits(now: datetime, using: str) -> bool:
    """Is anything due that nobody holds?"""
    due = EndpointQueue.objects.using(using).filter(holder_id__isnull=True, due_at__lte=now)
    return Event.objects.using(using).pending().exists() or due.exists()


def repair(*, using: str | None = None) -> int:
    """Compare every free queue with its pending deliveries (every 10 minutes); correct and count those that would be woken
    too late.

    In a correct program the count is 0, always: each one is a lost wake-up, and logged as an error.
    """
    alias = using or pipeline_alias()
    suspicious, repaired = _suspicious(alias), 0
    for start in range(0, len(suspicious), _REPAIR_CHUNK):
        chunk = suspicious[start : start + _REPAIR_CHUNK]
        repaired += in_fresh_transaction(partial(_repair, chunk, alias), alias)
    return repaired


def _suspicious(using: str) -> list[uuid.UUID]:
    """Free queues that have a pending delivery before their due time. Some are right (a FIFO queue waits for its head)."""
    earlier = Delivery.objects.using(using).pending()
    earlier = earlier.filter(endpoint_id=OuterRef("endpoint_id"), next_attempt_at__lt=OuterRef("due_at"))
    free = EndpointQueue.objects.using(using).filter(holder_id__isnull=True, not_before__lt=F("due_at"))
    return list(free.filter(Exists(earlier)).order_by("endpoint_id").values_list("endpoint_id", flat=True))


def _repair(ids: Sequence[uuid.UUID], using: str) -> int:
    """Compute the due times anew, under the rows' locks; count those that became earlier."""
    free = EndpointQueue.objects.using(using).filter(endpoint_id__in=ids, holder_id__isnull=True)
    before = dict(free.locked().values_list("endpoint_id", "due_at"))
    store_for(using).set_due(list(before))
    after = dict(free.values_list("endpoint_id", "due_at"))
    late = [endpoint_id for endpoint_id, due_at in after.items() if due_at < before[endpoint_id]]
    if late:
        logger.error(
            "webhooks: %d queue(s) would have slept through their work and were woken: a bug, please report", len(late)
        )
    return len(late)
