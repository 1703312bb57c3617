"""Pause, resume, disable, enable and delete an endpoint.

Paused: deliveries are created and stay pending. Disabled: pending deliveries are kept, new events create none. Deleted: gone
for the customer; its history is readable until it is pruned. Repeating an action changes nothing.
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from webhooks_app import signals
from webhooks_app.db import in_one_transaction
from webhooks_app.deliveries import backlog, bulk_updates
from webhooks_app.engine.queue_due import make_queues_due
from webhooks_app.exceptions import ConflictingState, gettext_noop
from webhooks_app.locking import EndpointRef, key_of, locked_endpoint
from webhooks_app.models import (
    BLOCKED,
    NOT_HELD,
    Delivery,
    Endpoint,
    EndpointQueue,
    EndpointStatus,
    Notification,
    NotificationKind,
    Secret,
    database_now,
)
from webhooks_app.models.database import database_alias
from webhooks_app.models.endpoint import NO_CREDENTIALS
from webhooks_app.tenants.audit import SYSTEM, record_audit_entry


@in_one_transaction
def pause_endpoint(endpoint: EndpointRef, *, reason: str = "", actor: str = SYSTEM) -> Endpoint:
    """Stop sending; new deliveries are still created and stay pending. Requests in flight finish.

    Raises ConflictingState for a disabled or deleted endpoint.
    """
    row, queue = locked_endpoint(endpoint)
    if row.status == EndpointStatus.PAUSED:
        return row
    _expect(row, EndpointStatus.ACTIVE, gettext_noop("Only an active endpoint can be paused; enable it first."))
    _block_queue(queue)
    _set_status(row, EndpointStatus.PAUSED, reason, database_now())
    record_audit_entry(row.tenant_id, actor, "endpoint.paused", row.public_id, reason=reason)
    return row


def resume_endpoint(endpoint: EndpointRef, *, actor: str = SYSTEM) -> Endpoint:
    """Send the pending deliveries, oldest first. The paused time does not count towards their expiry.

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
    record_audit_entry(row.tenant_id, actor, "endpoint.resumed", row.public_id)
    return row


@in_one_transaction
def disable_endpoint(endpoint: EndpointRef, reason: str = "", *, notify: bool = True, actor: str = SYSTEM) -> Endpoint:
    """Disable the endpoint: pending deliveries are kept, new events create none (`recover` creates them later).

    `notify`: write the notification that becomes an e-mail to tenant and staff; pass False if the customer disabled it. Sends
    the signal `endpoint_disabled` after the commit. Playgrounds send neither. Raises ConflictingState for a deleted endpoint.
    """
    row, queue = locked_endpoint(endpoint)
    if row.status == EndpointStatus.DISABLED:
        return row
    _block_queue(queue)
    _set_status(row, EndpointStatus.DISABLED, reason, database_now())
    record_audit_entry(row.tenant_id, actor, "endpoint.disabled", row.public_id, reason=reason)
    if row.is_playground:
        return row
    if notify and not row.is_callback:
        Notification.objects.create(
            tenant_id=row.tenant_id, endpoint_id=row.pk, kind=NotificationKind.DISABLED, reason=reason[:255]
        )
    _announce(row)
    return row


def enable_endpoint(endpoint: EndpointRef, *, actor: str = SYSTEM) -> Endpoint:
    """Enable a disabled endpoint, reset its failures, and send the pending deliveries.

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
    record_audit_entry(row.tenant_id, actor, "endpoint.enabled", row.public_id)
    return row


def set_active(endpoint: Endpoint, *, on: bool, actor: str = SYSTEM) -> Endpoint:
    """Enable or disable the endpoint for a customer: off disables without a notification, on resumes or enables.

    Raises ConflictingState for a deleted endpoint.
    """
    if not on:
        return disable_endpoint(endpoint, notify=False, actor=actor)
    if endpoint.status == EndpointStatus.PAUSED:
        return resume_endpoint(endpoint, actor=actor)
    return enable_endpoint(endpoint, actor=actor)


def reset_and_activate(row: Endpoint, queue: EndpointQueue) -> None:
    """Set it active, reset its failures, and make pending deliveries due. Needs a transaction, and both rows locked."""
    queue.consecutive_failures, queue.crash_takeovers, queue.failing_since = 0, 0, None
    queue.save(update_fields=["consecutive_failures", "crash_takeovers", "failing_since"])
    _unblock_queue(row, queue)


def delete_endpoint(endpoint: EndpointRef, *, actor: str = SYSTEM) -> Endpoint:
    """Delete the endpoint for the customer: stop sending, cancel pending deliveries, keep the history until `prune`.

    Its secrets, custom headers, authentication and certificates are erased at once. Requests in flight end with those that their
    engine has in memory.
    """
    row = _delete(endpoint, actor)
    # After the status change: no new deliveries are created, and `prune` finds those of a fan-out that was running.
    bulk_updates.cancel_all(Delivery.objects.filter(endpoint_id=row.pk))
    return row


@in_one_transaction
def _delete(endpoint: EndpointRef, actor: str) -> Endpoint:
    row, queue = locked_endpoint(endpoint, deleted_too=True)
    if not row.is_deleted:
        now = database_now()
        _block_queue(queue)
        row.deleted_at = now
        for name, value in NO_CREDENTIALS.items():
            setattr(row, name, value)
        row.save(update_fields=["deleted_at", *NO_CREDENTIALS])
        Secret.objects.filter(endpoint_id=row.pk).delete()
        _set_status(row, EndpointStatus.DELETED, "", now)
        record_audit_entry(row.tenant_id, actor, "endpoint.deleted", row.public_id)
    return row


def _expect(row: Endpoint, status: EndpointStatus, message: str) -> None:
    if row.status != status:
        raise ConflictingState(message, field="status")


def _extend_waiting(endpoint: EndpointRef, status: EndpointStatus) -> None:
    """Extend the expiry before the status changes and outside its transaction: it updates many rows, and must not hold the
    locks."""
    row = Endpoint.objects.get(pk=key_of(endpoint))
    if row.status == status:
        backlog.trim_backlog(row, database_now(), warn=False)
        bulk_updates.extend_expiry(row)


def _set_status(row: Endpoint, status: EndpointStatus, reason: str, now: datetime) -> None:
    row.status, row.status_reason, row.status_changed_at = status, reason[:255], now
    row.save(update_fields=["status", "status_reason", "status_changed_at"])


def _block_queue(queue: EndpointQueue) -> None:
    """Make the queue never due; an engine that holds it notices within a second."""
    queue.not_before, queue.due_at = BLOCKED, max(queue.due_at, BLOCKED)
    queue.save(update_fields=["not_before", "due_at"])


def _unblock_queue(row: Endpoint, queue: EndpointQueue) -> None:
    now = database_now()
    _set_status(row, EndpointStatus.ACTIVE, "", now)
    queue.not_before = NOT_HELD
    queue.save(update_fields=["not_before"])
    make_queues_due([row.pk], now)


def _announce(row: Endpoint) -> None:
    """Send the signal after the commit. A function and not a `partial`, whose missing name would break Django's error log."""

    def announce() -> None:
        signals.endpoint_disabled.send_robust(
            sender=Endpoint, endpoint_id=row.pk, tenant_id=row.tenant_id, reason=row.status_reason
        )

    transaction.on_commit(announce, using=database_alias(), robust=True)
