"""Updates of many deliveries at once, each in one short transaction or in chunks of short transactions.

Always lock the queue rows first, so that these updates and the engines' recording cannot deadlock.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from django.db.models import QuerySet
from django.db.models.functions import Greatest

from webhooks_app.engine.numbering import assign_missing_sequences, not_fully_numbered, put_at_end
from webhooks_app.engine.queue_due import make_queues_due
from webhooks_app.exceptions import ConflictingState, gettext_noop
from webhooks_app.locking import CHUNK, EndpointRef, in_chunks, locked_endpoint
from webhooks_app.models import (
    Delivery,
    DeliveryStatus,
    Endpoint,
    EndpointQueue,
    EndpointStatus,
    Event,
    database_now,
)
from webhooks_app.models.database import database_alias
from webhooks_app.models.ids import new_id
from webhooks_app.models.lookups import any_of, for_change
from webhooks_app.wire_formats import retry_policy_of

#: A queue with more pending deliveries than this cannot become FIFO: numbering them would hold its lock for too long.
MAX_RENUMBERED = 20_000


def extend_expiry(endpoint: Endpoint) -> int:
    """Restart the waiting time of every pending delivery, as the receiver did not cause the wait. Uses its own transactions."""
    until = database_now() + retry_policy_of(endpoint.wire_format).max_age
    waiting = Delivery.objects.pending().filter(endpoint_id=endpoint.pk)
    return in_chunks(lambda ids: _lock_pending(ids).update(expires_at=Greatest("expires_at", until)), waiting)


def create_deliveries(endpoint: EndpointRef, event_ids: Sequence[uuid.UUID]) -> int:
    """Create deliveries of these events for this endpoint, in their order and due now; return how many exist.

    Needs a transaction. (event, endpoint) is unique, so a repeated call is harmless. Events that are erased get none. Raises
    ConflictingState for a deleted endpoint.
    """
    # Locked, before the queue: an erasure that runs meanwhile must find the deliveries that are created here.
    wanted = for_change(Event.objects.not_erased().filter(any_of("id", event_ids)).order_by("id"))
    there = set(wanted.values_list("id", flat=True))
    event_ids = [event_id for event_id in event_ids if event_id in there]
    row, queue = locked_endpoint(endpoint)
    if row.fifo and not_fully_numbered([row.pk], database_alias()):
        assign_missing_sequences(row.pk, database_alias(), MAX_RENUMBERED)
        queue.refresh_from_db(fields=["sequence"])
    now = database_now()
    expires_at = now + retry_policy_of(row.wire_format).max_age
    first = queue.sequence + 1 if row.fifo else 0
    deliveries = [
        Delivery(
            id=new_id(),
            tenant_id=row.tenant_id,
            event_id=event_id,
            endpoint_id=row.pk,
            next_attempt_at=now,
            expires_at=expires_at,
            sequence=first + place if row.fifo else 0,
        )
        for place, event_id in enumerate(event_ids)
    ]
    if row.fifo:
        queue.sequence += len(deliveries)
        queue.save(update_fields=["sequence"])
    Delivery.objects.bulk_create(deliveries, batch_size=500, ignore_conflicts=True)
    make_queues_due([row.pk], now)
    return Delivery.objects.filter(pk__in=[one.pk for one in deliveries]).count()


def make_due_now(endpoint: Endpoint) -> int:
    """Make deliveries that wait for a retry due now, as many as one transaction may write; return how many.

    The queue row must be locked, and the caller wakes the queue.
    """
    now = database_now()
    waiting = Delivery.objects.pending().filter(endpoint_id=endpoint.pk, next_attempt_at__gt=now)
    ids = list(waiting.order_by("next_attempt_at", "pk").values_list("pk", flat=True)[:CHUNK])
    until = now + retry_policy_of(endpoint.wire_format).max_age
    return _lock_pending(ids).update(next_attempt_at=now, expires_at=Greatest("expires_at", until))


def cancel_all(deliveries: QuerySet[Delivery]) -> int:
    """Cancel those of the deliveries that are pending; return how many. Uses its own transactions."""

    def cancel(ids: Collection[uuid.UUID]) -> int:
        return _lock_pending(ids).update(status=DeliveryStatus.CANCELLED, completed_at=database_now())

    return in_chunks(cancel, deliveries.filter(status=DeliveryStatus.PENDING))


def lock_pending_of(event_ids: Collection[uuid.UUID], more: Collection[uuid.UUID] = ()) -> dict[uuid.UUID, Delivery]:
    """Lock and return the pending deliveries of these events, by id, with their queues. `more`: other endpoints whose queues are
    locked with them.

    Needs a transaction, and the events' rows locked: all code that makes a delivery pending locks its event, so no
    further deliveries become pending.
    """
    pending = Delivery.objects.pending().filter(any_of("event_id", event_ids))
    endpoint_ids = {*more, *pending.values_list("endpoint_id", flat=True)}
    list(EndpointQueue.objects.filter(any_of("endpoint_id", endpoint_ids)).locked().values_list("endpoint_id"))
    rows = for_change(pending.only("id", "event_id", "endpoint_id").order_by("pk"))
    return {row.pk: row for row in rows}


def cancel_locked(deliveries: Mapping[uuid.UUID, Delivery]) -> None:
    """Cancel these pending deliveries; they and their queues are locked."""
    now = database_now()
    rows = Delivery.objects.filter(any_of("id", deliveries))
    rows.update(status=DeliveryStatus.CANCELLED, completed_at=now)
    endpoint_ids = {row.endpoint_id for row in deliveries.values()}
    fifo = EndpointQueue.objects.filter(any_of("endpoint_id", endpoint_ids), fifo=True)
    # A cancelled head may have blocked the rest of its queue.
    make_queues_due(fifo.values_list("endpoint_id", flat=True), now)


def requeue(ids: Collection[uuid.UUID]) -> int:
    """Make finished deliveries pending again, due now, and wake their queues; return how many. Needs a transaction.

    Each delivery restarts its retry policy and continues its attempt numbers. Test events get one request and no retries,
    except in a playground. For FIFO endpoints the deliveries go to the end of the order. Deliveries that are already pending,
    and those of deleted endpoints and of erased events, stay unchanged.
    """
    erased = _lock_events(ids)
    queues = _lock_queues(ids)
    endpoints = Endpoint.objects.exclude(status=EndpointStatus.DELETED).in_bulk(list(queues))
    finished = for_change(Delivery.objects.filter(pk__in=ids).exclude(status=DeliveryStatus.PENDING))
    rows = [
        row
        for row in finished.only("id", "endpoint_id", "event_id").order_by("id")
        if row.endpoint_id in endpoints and row.event_id not in erased
    ]
    by_wire_format: dict[str, list[Delivery]] = defaultdict(list)
    by_order: dict[uuid.UUID, list[Delivery]] = defaultdict(list)
    for row in rows:
        endpoint = endpoints[row.endpoint_id]
        by_wire_format[endpoint.wire_format].append(row)
        if endpoint.fifo:
            by_order[endpoint.pk].append(row)
    now = database_now()
    tests = _tests(rows, endpoints)
    for wire_format, group in by_wire_format.items():
        _renew([row for row in group if row.pk not in tests], now, wire_format)
        _renew([row for row in group if row.pk in tests], now, wire_format, only_once=True)
    for key, group in by_order.items():
        put_at_end(key, [row.pk for row in sorted(group, key=lambda row: row.event_id)], database_alias())
    make_queues_due({row.endpoint_id for row in rows}, now)
    return len(rows)


def _tests(rows: Sequence[Delivery], endpoints: Mapping[uuid.UUID, Endpoint]) -> set[uuid.UUID]:
    """Return the deliveries of test events, except those to playgrounds, where users want to see retries."""
    wanted = [row for row in rows if not endpoints[row.endpoint_id].is_playground]
    events = Event.objects.filter(any_of("id", {row.event_id for row in wanted}), is_test=True)
    found = set(events.values_list("pk", flat=True))
    return {row.pk for row in wanted if row.event_id in found}


def _renew(rows: Sequence[Delivery], now: datetime, wire_format: str, *, only_once: bool = False) -> None:
    """Restart these deliveries.

    `only_once`: start at the last step of the policy, after which a failure is final.
    """
    if not rows:
        return
    Delivery.objects.filter(pk__in=[row.pk for row in rows]).update(
        status=DeliveryStatus.PENDING,
        retry_step=len(retry_policy_of(wire_format).delays) if only_once else 0,
        next_attempt_at=now,
        expires_at=now + retry_policy_of(wire_format).max_age,
        sequence=0,
        crash_marked_at=None,
        completed_at=None,
    )


def put_in_order(queue: EndpointQueue) -> None:
    """Number every pending delivery of the queue by event, as the endpoint becomes FIFO. The queue row must be locked.

    Raises ConflictingState if so many are pending that the lock would block the engines.
    """
    pending = Delivery.objects.pending().filter(endpoint_id=queue.pk)
    ids = list(pending.order_by("event_id").values_list("pk", flat=True)[: MAX_RENUMBERED + 1])
    if len(ids) > MAX_RENUMBERED:
        raise ConflictingState(
            gettext_noop(
                "More than %(most)s deliveries wait for this endpoint. Change its order when they are through."
            ),
            field="fifo",
            most=MAX_RENUMBERED,
        )
    put_at_end(queue.pk, ids, database_alias())


def drop_order(queue: EndpointQueue) -> None:
    """Clear the positions of all pending deliveries, as the endpoint is no longer FIFO. The queue row must be locked."""
    Delivery.objects.pending().filter(endpoint_id=queue.pk, sequence__gt=0).update(sequence=0)


def _lock_pending(ids: Collection[uuid.UUID]) -> QuerySet[Delivery]:
    """Return the deliveries that are still pending. Locks their queues, then the deliveries, in the order all writers use."""
    _lock_queues(ids)
    pending = Delivery.objects.pending().filter(pk__in=ids)
    return pending.filter(pk__in=list(for_change(pending).order_by("pk").values_list("pk", flat=True)))


def _lock_events(ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Lock the events of these deliveries, so that none is erased meanwhile. Return those that are erased already."""
    events = Delivery.objects.filter(pk__in=ids).values_list("event_id", flat=True)
    rows = for_change(Event.objects.filter(any_of("id", set(events))).order_by("id"))
    return {key for key, erased_at in rows.values_list("id", "erased_at") if erased_at is not None}


def _lock_queues(ids: Collection[uuid.UUID]) -> dict[uuid.UUID, EndpointQueue]:
    concerned = Delivery.objects.filter(pk__in=ids).order_by().values_list("endpoint_id", flat=True).distinct()
    queues = EndpointQueue.objects.filter(endpoint_id__in=list(concerned)).locked()
    return {queue.pk: queue for queue in queues}
