"""Resend, send now or cancel: actions on single deliveries and on all deliveries of one event.

A replay reuses the delivery: its retry policy restarts, its attempt numbers continue. Deliveries to a paused or disabled
endpoint stay pending until it is active again. A delivery that a user sends to a failing endpoint is sent next, without
waiting for the backoff: see `deliveries.probe`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial

from django.db.models import QuerySet
from django.db.models.functions import Greatest

from webhooks_app.db import in_fresh_transaction, write
from webhooks_app.deliveries import bulk_updates
from webhooks_app.deliveries.probe import send_as_next_probe
from webhooks_app.engine.queue_due import make_queues_due
from webhooks_app.events.erased import refuse_erased
from webhooks_app.exceptions import ConflictingState, gettext_noop
from webhooks_app.locking import CHUNK, in_chunks, key_of, locked_endpoint
from webhooks_app.models import Delivery, DeliveryStatus, Endpoint, EndpointStatus, Event, database_now
from webhooks_app.models.delivery import of_sendable_events
from webhooks_app.models.lookups import for_change
from webhooks_app.tenants.audit import SYSTEM, record_audit_entry
from webhooks_app.wire_formats import retry_policy_of

#: A delivery, or its primary key.
DeliveryRef = Delivery | uuid.UUID


def resend(delivery: DeliveryRef, *, actor: str = SYSTEM) -> Delivery:
    """Resend this delivery, whatever its outcome; a pending one is only sent sooner.

    For a FIFO endpoint it goes to the end of the order. Raises ConflictingState for a deleted endpoint or an erased event.
    """
    return _run_step(_resend, delivery, actor)


def send_now(delivery: DeliveryRef, *, actor: str = SYSTEM) -> Delivery:
    """Send a pending delivery without waiting for the next retry. The retry policy continues where it is.

    Raises ConflictingState if the delivery is not pending (use `resend`), the endpoint is deleted or the event is erased.
    """
    return _run_step(_send_now, delivery, actor)


def cancel_delivery(delivery: DeliveryRef, *, actor: str = SYSTEM) -> Delivery:
    """Cancel this delivery. A request in flight still finishes, and its response is recorded.

    Raises ConflictingState if the delivery is not pending any more.
    """
    return _run_step(_cancel, delivery, actor)


def resend_event(event: Event | uuid.UUID, *, actor: str = SYSTEM) -> int:
    """Resend an event to every endpoint that it went to, except deleted ones; return the number of deliveries.

    Deliveries that are already pending are not counted. After an error, deliveries that were renewed stay so; calling again
    is safe. Raises ConflictingState for an erased event.
    """
    row = Event.objects.defer("data").get(pk=key_of(event))
    refuse_erased(row)
    with write():
        record_audit_entry(row.tenant_id, actor, "event.replayed", row.public_id)
    deliveries = Delivery.objects.filter(event_id=row.pk).exclude(status=DeliveryStatus.PENDING)
    alive = deliveries.exclude(endpoint__status=EndpointStatus.DELETED)
    return in_chunks(bulk_updates.requeue, alive)


def retry_failed(deliveries: QuerySet[Delivery], *, tenant_id: uuid.UUID, actor: str = SYSTEM) -> int:
    """Resend those of the tenant's deliveries that failed permanently, except test events and erased ones; return how many.

    Works in chunks with their own transactions. After an error, deliveries that were renewed stay so; calling again is safe.
    """
    failed = deliveries.filter(tenant_id=tenant_id, status=DeliveryStatus.EXHAUSTED)
    alive = failed.filter(of_sendable_events()).exclude(endpoint__status=EndpointStatus.DELETED)
    keys = list(alive.order_by("pk").values_list("pk", flat=True))
    parts = [keys[start : start + CHUNK] for start in range(0, len(keys), CHUNK)]
    renewed = sum(in_fresh_transaction(partial(bulk_updates.requeue, ids)) for ids in parts)
    with write():
        record_audit_entry(tenant_id, actor, "deliveries.retried", "", count=renewed)
    return renewed


def _run_step(step: Callable[[Delivery, Endpoint, str], None], delivery: DeliveryRef, actor: str) -> Delivery:
    """Run the step in a transaction. Retry in a new one after a deadlock, since engines lock in another order."""

    def work() -> Delivery:
        row, endpoint = _taken(delivery)
        step(row, endpoint, actor)
        row.refresh_from_db()
        return row

    return in_fresh_transaction(work)


def _resend(row: Delivery, endpoint: Endpoint, actor: str) -> None:
    _refuse_deleted(endpoint)
    refuse_erased(_event_of(row))
    if row.status == DeliveryStatus.PENDING:
        _hurry(row, endpoint)
    else:
        bulk_updates.requeue([row.pk])
    send_as_next_probe(row, endpoint)
    record_audit_entry(row.tenant_id, actor, "delivery.replayed", row.public_id, was=row.status)


def _send_now(row: Delivery, endpoint: Endpoint, actor: str) -> None:
    _refuse_deleted(endpoint)
    refuse_erased(_event_of(row))
    if row.status != DeliveryStatus.PENDING:
        raise ConflictingState(
            gettext_noop("This delivery waits for no retry that could be hurried. Replay it to send it again.")
        )
    _hurry(row, endpoint)
    send_as_next_probe(row, endpoint)
    record_audit_entry(row.tenant_id, actor, "delivery.hurried", row.public_id)


def _cancel(row: Delivery, endpoint: Endpoint, actor: str) -> None:
    now = database_now()
    waiting = Delivery.objects.pending().filter(pk=row.pk)
    if not waiting.update(status=DeliveryStatus.CANCELLED, completed_at=now):
        raise ConflictingState(gettext_noop("This delivery has ended already; only a pending one can be cancelled."))
    if endpoint.fifo:
        # It may have been the head that blocked all others.
        make_queues_due([endpoint.pk], now)
    record_audit_entry(row.tenant_id, actor, "delivery.cancelled", row.public_id)


def _event_of(row: Delivery) -> Event | None:
    return Event.objects.filter(pk=row.event_id).only("erased_at").first()


def _refuse_deleted(endpoint: Endpoint) -> None:
    if endpoint.is_deleted:
        raise ConflictingState(gettext_noop("This delivery's endpoint was deleted; there is nowhere to send it."))


def _taken(delivery: DeliveryRef) -> tuple[Delivery, Endpoint]:
    """Return the current delivery and its endpoint. Locks queue and endpoint, then the delivery: no engine records it
    meanwhile."""
    deliveries = Delivery.objects.all()
    key = key_of(delivery)
    endpoint_id = deliveries.values_list("endpoint_id", flat=True).get(pk=key)
    endpoint, _ = locked_endpoint(endpoint_id, deleted_too=True)
    return for_change(deliveries).get(pk=key), endpoint


def _hurry(row: Delivery, endpoint: Endpoint) -> None:
    now = database_now()
    until = now + retry_policy_of(endpoint.wire_format).max_age
    Delivery.objects.pending().filter(pk=row.pk).update(next_attempt_at=now, expires_at=Greatest("expires_at", until))
    make_queues_due([row.endpoint_id], now)
