"""The crash guard: find a delivery that crashes the engine, and isolate it.

Engines are killed for many reasons, so a single crash proves nothing. A queue that was taken over from crashed engines
twice within a while is suspected: it runs alone, and each of its deliveries is marked before it is sent. If the engine
dies shortly after that mark, the marked delivery is the cause. The delivery does not fail: it is retried in isolation
with a growing delay, while the other deliveries of its queue continue.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from datetime import datetime, timedelta

from django.db import OperationalError

from webhooks_app import telemetry
from webhooks_app.database_errors import is_lock_timeout
from webhooks_app.db import in_fresh_transaction
from webhooks_app.log_thread import engine_logger
from webhooks_app.models import Delivery, EndpointQueue
from webhooks_app.models.ids import public_id
from webhooks_app.models.lookups import any_of, for_change
from webhooks_app.telemetry.logs import log_ids

logger = engine_logger(__name__)

#: A delivery that crashes the engine does so at once: an engine that ran for longer than this after the mark died for another
#: reason. The time includes the wait for isolation between the mark and the request.
_AT_ONCE = timedelta(seconds=4)
#: Delays of a delivery that has crashed an engine once, twice, …; the last one applies to every further crash.
_WAITS = (timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6), timedelta(hours=24))


def mark_before_send(delivery_ids: Collection[uuid.UUID], now: datetime, using: str, lock_timeout: float) -> bool:
    """Record that these deliveries are about to be sent, in a separate transaction. Return False if another transaction has
    locked their rows."""
    rows = Delivery.objects.using(using).filter(id__in=delivery_ids)
    try:
        in_fresh_transaction(lambda: rows.update(crash_marked_at=now), using, lock_timeout=lock_timeout)
    except OperationalError as error:
        if not is_lock_timeout(error):
            raise
        return False
    return True


def isolate_culprits(endpoint_ids: Collection[uuid.UUID], last_beat: datetime, now: datetime, using: str) -> int:
    """Isolate the marked deliveries of these queues that crashed their engine, whose last heartbeat was at `last_beat`. Needs
    a transaction that has locked the queues. Returns the number of deliveries that crashed it."""
    culprits = 0
    marked = (
        Delivery.objects.using(using)
        .pending()
        .filter(any_of("endpoint_id", endpoint_ids), crash_marked_at__isnull=False)
    )
    # A delivery that another transaction has locked keeps its mark, and is checked after the next crash.
    columns = ("id", "event_id", "endpoint_id", "crash_marked_at", "crashes")
    for delivery in for_change(marked.order_by("id"), skip_locked=True).values_list(*columns, named=True):
        at_once = delivery.crash_marked_at is not None and last_beat < delivery.crash_marked_at + _AT_ONCE
        if at_once:
            crashes = delivery.crashes + 1
            wait = _WAITS[min(crashes, len(_WAITS)) - 1]
            logger.error(
                "webhooks: delivery %s crashed an engine (%d so far); it is isolated and tried again in %s",
                public_id("dlv", delivery.id),
                crashes,
                wait,
                extra=log_ids(delivery=delivery.id, event=delivery.event_id, endpoint=delivery.endpoint_id),
            )
            Delivery.objects.using(using).filter(id=delivery.id).update(
                crash_marked_at=None, crashes=crashes, next_attempt_at=now + wait, last_outcome="quarantined"
            )
            telemetry.count("isolated")
            culprits += 1
        else:
            Delivery.objects.using(using).filter(id=delivery.id).update(crash_marked_at=None)
        # Either the cause was found, or this queue is not the cause.
        EndpointQueue.objects.using(using).filter(endpoint_id=delivery.endpoint_id).update(crash_takeovers=0)
    return culprits
