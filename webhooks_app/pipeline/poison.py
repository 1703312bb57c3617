"""Poison: a delivery that takes the engine down with it, again and again.

An engine that dies leaves its queues with one more takeover each. From the second on, such a queue runs alone and each of
its deliveries is marked before it is sent; when the engine dies a third time, the marked delivery is the culprit and is
quarantined, and the queue goes on without it. A success under any lease sets the count back.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import datetime

from webhooks_app.models import Delivery
from webhooks_app.pipeline.store.rows import DueRow
from webhooks_app.pipeline.transactions import in_fresh_transaction
from webhooks_app.pipeline.work import Job

logger = logging.getLogger(__name__)

#: A delivery that was marked and is found again after this many takeovers is quarantined.
POISON_CERTAIN = 3


def mark_suspect(
    takeovers: int, jobs: list[Job], rows: Collection[DueRow], now: datetime, using: str
) -> tuple[list[Job], list[Job]]:
    """Mark the next job of a suspected queue in the database. Returns the jobs to send and those to quarantine."""
    marked = {row.id for row in rows if row.marked}
    if takeovers >= POISON_CERTAIN:
        culprits = [job for job in jobs if job.delivery_id in marked]
        if culprits:
            logger.error("webhooks: %d delivery(ies) quarantined after %d crashes", len(culprits), takeovers)
            return [job for job in jobs if job.delivery_id not in marked], culprits
    ids = [job.delivery_id for job in jobs]
    in_fresh_transaction(lambda: Delivery.objects.using(using).filter(id__in=ids).update(marked_at=now), using)
    return jobs, []
