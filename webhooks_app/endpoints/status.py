"""Pause, resume, disable, enable and delete an endpoint.

Paused: deliveries are made and wait. Disabled: the pending ones are kept, new events make none. Deleted: gone for the
customer, its history readable until it is pruned. Each act repeated changes nothing.
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from webhooks_app import signals
from webhooks_app.db import in_one_transaction
from webhooks_app.deliveries import backlog, bulk_updates
from webhooks_app.engine.queue_wakeup import wake
from webhooks_app.exceptions import ConflictingState, gettext_noop
from webhooks_app.locking import EndpointRef, key_of, locked_endpoint
from webhooks_app.models import (
    IDLE,
    Delivery,
    Endpoint,
    EndpointQueue,
    EndpointStatus,
    Notification,
    NotificationKind,
    database_now,
)
from webhooks_app.models.database import database_alias
from webhooks_app.tenants.audit import SYSTEM, note


@in_one_transaction
def pause_endpoint(endpoint: EndpointRef, *, reason: str = "", actor: str = SYSTEM) -> Endpoint:
    """Stop sending; deliveries go on being made and wait. Requests that have started still finish.

    Raises ConflictingState for a disabled or deleted endpoint.
    """
    row, queue = locked_endpoint(endpoint)
    if row.status == EndpointStatus.PAUSED:
        return row
    _expect(row, EndpointStatus.ACTIVE, gettext_noop("Only an active endpoint can be paused; enable it first."))
    _block_queue(queue)
    _set_status(row, EndpointStatus.PAUSED, reason, database_now())
    note(row.tenant_id, actor, "endpoint.paused", row.public_id, reason=reason)
    return row


def resume_endpoint(endpoint: EndpointRef, *, actor: str = SYSTEM) -> Endpoint:
    """Send again what waits, oldest first. The time that was paused does not count as waiting.

    Raises ConflictingState for a disabled or deleted endpoint.
    """
    _extend_waiting(endpoint, EndpointStatus.PAUSED)
    return _resume(endpoint, actor)


@in_one_transaction
def _resume(endpoint: EndpointRef, actor: str) -> Endpoint:
    row, queue = locked_endpoint(endpoint)
    if row.status == EndpointStatus.ACTIVE:
        return row
    _expect(row, EndpointStatus.PAUSED, gettext_noop("This endpoint is not paused but disabled; enable it."))
    _unblock_queue(row, queue)
    note(row.tenant_id, actor, "endpoint.resumed", row.public_id)
    return row


@in_one_transaction
def disable_endpoint(endpoint: EndpointRef, reason: str = "", *, notify: bool = True, actor: str = SYSTEM) -> Endpoint:
    """Switch the endpoint off: what is pending is kept, new events make no deliveries (`recover` makes them later).

    `notify`: write the notification from which tenant and staff get an e-mail; pass False where the customer did it in person.
    Sends the signal `endpoint_disabled` after the commit. Playgrounds send neither.
    Raises ConflictingState for a deleted endpoint.
    """
    row, queue = locked_endpoint(endpoint)
    if row.status == EndpointStatus.DISABLED:
        return row
    _block_queue(queue)
    _set_status(row, EndpointStatus.DISABLED, reason, database_now())
    note(row.tenant_id, actor, "endpoint.disabled", row.public_id, reason=reason)
    if row.is_playground:
        return row
    if notify and not row.hidden:
        Notification.objects.create(
            tenant_id=row.tenant_id, endpoint_id=row.pk, kind=NotificationKind.DISABLED, reason=reason[:255]
        )
    _announce(row)
    return row


def enable_endpoint(endpoint: EndpointRef, *, actor: str = SYSTEM) -> Endpoint:
    """Switch a disabled endpoint on again, with a clean record, and send what was kept.

    Raises ConflictingState for a paused or deleted endpoint.
    """
    _extend_waiting(endpoint, EndpointStatus.DISABLED)
    return _enable(endpoint, actor)


@in_one_transaction
def _enable(endpoint: EndpointRef, actor: str) -> Endpoint:
    row, queue = locked_endpoint(endpoint)
    if row.status == EndpointStatus.ACTIVE:
        return row
    _expect(row, EndpointStatus.DISABLED, gettext_noop("This endpoint is not disabled but paused; resume it."))
    reset_and_activate(row, queue)
    note(row.tenant_id, actor, "endpoint.enabled", row.public_id)
    return row


def set_active(endpoint: Endpoint, *, on: bool, actor: str = SYSTEM) -> Endpoint:
    """What a customer means by on and off: off disables, and nobody needs a notification of it; on resumes or enables.

    Raises ConflictingState for a deleted endpoint.
    """
    if not on:
        return disable_endpoint(endpoint, notify=False, actor=actor)
    if endpoint.status == EndpointStatus.PAUSED:
        return resume_endpoint(endpoint, actor=actor)
    return enable_endpoint(endpoint, actor=actor)


def reset_and_activate(row: Endpoint, queue: EndpointQueue) -> None:
    """Make it active with a clean record, and what waits due. Needs a transaction, and both rows locked."""
    queue.consecutive_failures, queue.crash_takeovers, queue.failing_since = 0, 0, None
    queue.save(update_fields=["consecutive_failures", "crash_takeovers", "failing_since"])
    _unblock_queue(row, queue)


def delete_endpoint(endpoint: EndpointRef, *, actor: str = SYSTEM) -> Endpoint:
    """Delete for the customer: nothing more is sent, what is pending is cancelled, the history stays until `prune`."""
    row = _delete(endpoint, actor)
    # After the state: from here on no new delivery is made, and one that a fan-out was just making is found by `prune`.
    bulk_updates.cancel_all(Delivery.objects.filter(endpoint_id=row.pk))
    return row


@in_one_transaction
def _delete(endpoint: EndpointRef, actor: str) -> Endpoint:
    row, queue = locked_endpoint(endpoint, deleted_too=True)
    if not row.is_deleted:
        now = database_now()
        _block_queue(queue)
        row.deleted_at = now
        row.save(update_fields=["deleted_at"])
        _set_status(row, EndpointStatus.DELETED, "", now)
        note(row.tenant_id, actor, "endpoint.deleted", row.public_id)
    return row


def _expect(row: Endpoint, status: EndpointStatus, message: str) -> None:
    if row.status != status:
        raise ConflictingState(message, field="status")


def _extend_waiting(endpoint: EndpointRef, status: EndpointStatus) -> None:
    """Before the state changes and outside its transaction: many rows, and nobody else wants them while all is held."""
    row = Endpoint.objects.get(pk=key_of(endpoint))
    if row.status == status:
        backlog.trim_backlog(row, database_now(), warn=False)
        bulk_updates.extend_expiry(row)


def _set_status(row: Endpoint, status: EndpointStatus, reason: str, now: datetime) -> None:
    row.status, row.status_reason, row.status_changed_at = status, reason[:255], now
    row.save(update_fields=["status", "status_reason", "status_changed_at"])


def _block_queue(queue: EndpointQueue) -> None:
    """Make the queue due never; an engine that holds it sees so within a second."""
    queue.not_before = queue.due_at = IDLE
    queue.save(update_fields=["not_before", "due_at"])


def _unblock_queue(row: Endpoint, queue: EndpointQueue) -> None:
    now = database_now()
    _set_status(row, EndpointStatus.ACTIVE, "", now)
    queue.not_before = now
    queue.save(update_fields=["not_before"])
    wake([row.pk], now, using=database_alias())


def _announce(row: Endpoint) -> None:
    """Once it is committed. A function and no `partial`, which has no name for Django's log: that would be the next error."""

    def announce() -> None:
        signals.endpoint_disabled.send_robust(
            sender=Endpoint, endpoint_id=row.pk, tenant_id=row.tenant_id, reason=row.status_reason
        )

    transaction.on_commit(announce, using=database_alias(), robust=True)
