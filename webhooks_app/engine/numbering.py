"""Sequence numbers of deliveries that have none yet, in queues of FIFO endpoints. Such deliveries are not sent.

The fan-out numbers deliveries when it creates them, with two exceptions: it did not know that the endpoint is FIFO, because
that has just changed; or earlier deliveries have no numbers, and nothing may overtake them. `OwedWakes` then numbers them all.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence

from django.db.models import OuterRef, Subquery

from webhooks_app.engine.sql import store_for
from webhooks_app.models import Delivery, EndpointQueue
from webhooks_app.models.lookups import any_of


def put_at_end(endpoint_id: uuid.UUID, ids: Sequence[uuid.UUID], using: str) -> None:
    """Give these deliveries the next numbers of their queue, in this order. The caller has locked the queue's row."""
    queue = EndpointQueue.objects.using(using).filter(endpoint_id=endpoint_id)
    last = queue.values_list("sequence", flat=True).get()
    store_for(using).number_deliveries(ids, after=last)
    queue.update(sequence=last + len(ids))


def assign_missing_sequences(endpoint_id: uuid.UUID, using: str, most: int) -> int:
    """Number up to `most` pending deliveries that have no number, in the order of their events; return how many. If these are
    fewer than `most`, none is left. Does nothing if the endpoint is not FIFO.

    The caller has locked the queue's row, so the mode cannot change now.
    """
    if not EndpointQueue.objects.using(using).filter(endpoint_id=endpoint_id, fifo=True).exists():
        return 0
    unnumbered = Delivery.objects.using(using).pending().filter(endpoint_id=endpoint_id, sequence=0)
    ids = list(unnumbered.order_by("event_id").values_list("id", flat=True)[:most])
    if ids:
        put_at_end(endpoint_id, ids, using)
    return len(ids)


def fifo_of(endpoint_ids: Collection[uuid.UUID], using: str) -> set[uuid.UUID]:
    """Return which of these queues are FIFO."""
    if not endpoint_ids:
        return set()
    queues = EndpointQueue.objects.using(using).filter(any_of("endpoint_id", endpoint_ids), fifo=True)
    return set(queues.values_list("endpoint_id", flat=True))


def not_fully_numbered(endpoint_ids: Collection[uuid.UUID], using: str) -> set[uuid.UUID]:
    """Return those of these FIFO queues that may have deliveries without a number. The caller has locked their rows.

    Only the newest delivery is examined, because others may be very many. It has no number if any has none: while one has
    none, the fan-out numbers no newer ones. It may also be a finished one of the time before the endpoint was FIFO.
    """
    if not endpoint_ids:
        return set()
    newest = Delivery.objects.filter(endpoint_id=OuterRef("endpoint_id")).order_by("-id").values("sequence")[:1]
    queues = EndpointQueue.objects.using(using).filter(any_of("endpoint_id", endpoint_ids), fifo=True)
    return set(queues.annotate(newest=Subquery(newest)).filter(newest=0).values_list("endpoint_id", flat=True))
