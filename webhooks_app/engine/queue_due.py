"""Make queues due ("wake" them): the only way to do so."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from datetime import datetime

from django.db import connections
from django.db.models import F
from django.db.models.functions import Greatest, Least

from webhooks_app.engine.sql.tables import QUEUE
from webhooks_app.models import EndpointQueue, database_now
from webhooks_app.models.database import database_alias


def _postgresql_make_due(*, skip_locked: bool) -> str:
    """Return the statement that makes queues due, and locks them in the order of all writers."""
    return f"""
WITH locked AS (
    SELECT endpoint_id FROM {QUEUE} WHERE endpoint_id = ANY(%s)
    ORDER BY endpoint_id FOR NO KEY UPDATE {"SKIP LOCKED" if skip_locked else ""}
)
UPDATE {QUEUE} AS queue
SET due_at = LEAST(queue.due_at, GREATEST(queue.not_before, %s))
FROM locked WHERE queue.endpoint_id = locked.endpoint_id
RETURNING queue.endpoint_id
"""  # noqa: S608 - constants only


#: The statement that waits for locks, and the one that skips locked rows.
_MAKE_DUE = {skip_locked: _postgresql_make_due(skip_locked=skip_locked) for skip_locked in (False, True)}


def make_queues_due(
    endpoint_ids: Collection[uuid.UUID], at: datetime | None = None, *, using: str | None = None
) -> None:
    """Make these queues due at `at` (default: now, by the database's clock), or when `not_before` allows.

    Every writer that makes a delivery pending (retry, replay, resend) calls this after the write, in the same transaction.
    It updates all given rows, whether due, leased or paused, and locks them in the same order as all writers. An engine
    that is releasing such a queue at this moment either sees the new delivery or is overwritten here.
    """
    _make_due(endpoint_ids, at, using or database_alias(), skip_locked=False)


def make_unlocked_queues_due(
    endpoint_ids: Collection[uuid.UUID], at: datetime | None = None, *, using: str
) -> set[uuid.UUID]:
    """Make queues due without waiting for locks, and return which. The rows of the others are locked by another
    transaction; the caller tries them again later, in a transaction of its own."""
    return _make_due(endpoint_ids, at, using, skip_locked=True)


def _make_due(
    endpoint_ids: Collection[uuid.UUID], at: datetime | None, using: str, *, skip_locked: bool
) -> set[uuid.UUID]:
    if not endpoint_ids:
        return set()
    moment = at or database_now(using)
    if connections[using].vendor == "postgresql":
        with connections[using].cursor() as cursor:
            cursor.execute(_MAKE_DUE[skip_locked], [list(endpoint_ids), moment])
            return {row[0] for row in cursor.fetchall()}
    queues = EndpointQueue.objects.using(using)
    rows = queues.filter(endpoint_id__in=endpoint_ids).locked(skip_locked=skip_locked)
    locked = set(rows.values_list("endpoint_id", flat=True))
    queues.filter(endpoint_id__in=locked).update(due_at=Least(F("due_at"), Greatest(F("not_before"), moment)))
    return locked
