"""Wake: the one way in which a queue learns that it has work."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from datetime import datetime

from django.db import connections
from django.db.models import F
from django.db.models.functions import Greatest, Least

from webhooks_app.models import EndpointQueue, database_now

_POSTGRESQL_WAKE = """
WITH locked AS (
    SELECT endpoint_id FROM webhooks_app_endpointqueue WHERE endpoint_id = ANY(%s) ORDER BY endpoint_id FOR NO KEY UPDATE
)
UPDATE webhooks_app_endpointqueue AS queue
SET due_at = LEAST(queue.due_at, GREATEST(queue.not_before, %s))
FROM locked WHERE queue.endpoint_id = locked.endpoint_id
"""


def wake(endpoint_ids: Collection[uuid.UUID], at: datetime | None = None, *, using: str) -> None:
    """Make these queues due at `at` (default: now, by the database's clock), or when `not_before` allows.

    Whoever makes a delivery pending calls this, in the same transaction, after the write: fan-out, retry, replay, a person.
    It updates every row it is given, whether it is due, held or paused. The rows are locked in the order that all writers
    keep. An engine that is releasing such a queue at this moment either sees the new delivery or is overwritten here.
    """
    if not endpoint_ids:
        return
    moment = at or database_now(using)
    if connections[using].vendor == "postgresql":
        with connections[using].cursor() as cursor:
            cursor.execute(_POSTGRESQL_WAKE, [list(endpoint_ids), moment])
        return
    queues = EndpointQueue.objects.using(using)
    locked = list(queues.filter(endpoint_id__in=endpoint_ids).locked().values_list("endpoint_id", flat=True))
    queues.filter(endpoint_id__in=locked).update(due_at=Least(F("due_at"), Greatest(F("not_before"), moment)))
