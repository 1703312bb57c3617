"""Delete rows in batches, each in a short transaction of its own, and without waiting for rows that others have locked."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from django.db import IntegrityError, OperationalError, connections
from django.db.models import Exists, OuterRef, Q, QuerySet

from webhooks_app.conf import settings
from webhooks_app.database_errors import is_transient
from webhooks_app.db import in_fresh_transaction
from webhooks_app.locking import chunks
from webhooks_app.models import Attempt, Delivery, Event, EventChannel
from webhooks_app.models.lookups import for_change

logger = logging.getLogger(__name__)

#: The longest wait (seconds) for locks that SKIP LOCKED does not avoid, such as those of a host's foreign keys.
LOCK_TIMEOUT = 0.5


class EventCounts(Protocol):
    """How many rows were deleted."""

    attempts: int
    deliveries: int
    channels: int
    events: int


def delete_events(keys: Sequence[uuid.UUID], needed: Q, report: EventCounts, *, attempts: bool = False) -> None:
    """Delete these events: first their deliveries, then themselves, so that an interruption leaves no orphans.

    `needed`: the deliveries that stay, with their events. `attempts`: whether the attempts are deleted, too; those that are older
    than the retention are deleted by their age.
    """
    finished = Delivery.objects.filter(event_id__in=keys).exclude(needed)
    if attempts:
        report.attempts += delete(Attempt.objects.filter(delivery_id__in=finished.order_by().values("pk")))
    report.deliveries += delete(finished)
    report.channels += delete(EventChannel.objects.filter(event_id__in=keys))
    left = Delivery.objects.filter(event_id=OuterRef("pk"))
    report.events += delete(Event.objects.filter(pk__in=keys).exclude(Exists(left)))


def delete(rows: QuerySet[Any]) -> int:
    """Delete the rows batch by batch. Each deletion checks the condition again, since rows change in the meantime."""
    return sum(_delete_batch(rows, keys) for keys in chunks(rows, settings().ENGINE.PRUNE_BATCH))


def _delete_batch(rows: QuerySet[Any], keys: Sequence[Any]) -> int:
    """Delete a batch. Find and skip rows that cannot be deleted because a table of the host refers to them."""
    what = f"{len(keys)} rows of {rows.model._meta.label}, {keys[0]} first"
    deleted = try_once(partial(_delete_now, rows.filter(pk__in=keys)), what)
    if deleted is not None or len(keys) == 1:
        return deleted or 0
    half = len(keys) // 2
    return _delete_batch(rows, keys[:half]) + _delete_batch(rows, keys[half:])


def try_once(work: Callable[[], int], what: str) -> int | None:
    """Return what `work` returns, run in its own transaction: 0 if a lock stops it, None if a reference does."""
    try:
        return in_fresh_transaction(work, lock_timeout=LOCK_TIMEOUT)
    except IntegrityError as error:
        logger.error("webhooks: prune cannot delete %s: %s", what, error)
        return None
    except OperationalError as error:
        if not is_transient(error):
            raise
        logger.warning("webhooks: %s: locked, left to the next prune", what)
        return 0


def _delete_now(rows: QuerySet[Any]) -> int:
    """Delete those of the rows that no other transaction has locked."""
    if connections[rows.db].features.has_select_for_update_skip_locked:
        free = for_change(rows.order_by("pk"), skip_locked=True).values_list("pk", flat=True)
        rows = rows.filter(pk__in=list(free))
    _, counts = rows.delete()
    return counts.get(rows.model._meta.label, 0)
