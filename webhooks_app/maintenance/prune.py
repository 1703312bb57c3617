"""Prune: delete what is older than the retention, in batches, each in a separate short transaction.

Ids begin with the time of their creation, so "older than" is a range of the primary key and needs no extra index. No part
waits for a row that another transaction has locked: such rows are left to the next run.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from webhooks_app import idempotency
from webhooks_app.conf import settings
from webhooks_app.core.endpoint_kind import EndpointKind
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.db import in_fresh_transaction
from webhooks_app.deliveries import backlog
from webhooks_app.locking import chunks
from webhooks_app.maintenance import retention
from webhooks_app.maintenance.delete_rows import LOCK_TIMEOUT, delete, delete_events, try_once
from webhooks_app.models import (
    Attempt,
    AuditEntry,
    Delivery,
    DeliveryStatus,
    Endpoint,
    EndpointQueue,
    EndpointStatus,
    Engine,
    Event,
    HourlyStat,
    IdempotencyRecord,
    Notification,
    NotificationKind,
    PortalLink,
    Secret,
    database_now,
)
from webhooks_app.models.ids import first_id
from webhooks_app.models.lookups import for_change
from webhooks_app.playground.service import disable_idle_playgrounds

logger = logging.getLogger(__name__)

#: Hourly statistics and the audit log are kept for this many months, so that a month can be compared with that of last year.
MONTHS_KEPT = 13
_LONG_KEPT = MONTHS_KEPT * timedelta(days=30.5)
#: How long a sweep may still have to process a dead engine's row; afterwards the row can be deleted.
_ENGINE_GRACE = timedelta(hours=1)
#: How long an endpoint behind a callback URL may wait for its first delivery.
_CALLBACK_GRACE = timedelta(days=1)


@dataclass(slots=True)
class PruneReport:
    """How many rows were deleted; `dropped` counts pending deliveries of paused and disabled endpoints beyond the limits,
    `cancelled` those of deleted endpoints, `disabled_playgrounds` the idle playgrounds that were disabled, `erased` the
    events whose payloads were erased because they were delivered. `failed` names the parts that ended with an error; the
    next run tries them again."""

    attempts: int = 0
    deliveries: int = 0
    channels: int = 0
    events: int = 0
    endpoints: int = 0
    secrets: int = 0
    stats: int = 0
    notifications: int = 0
    audit_entries: int = 0
    engines: int = 0
    replies: int = 0
    portal_links: int = 0
    dropped: int = 0
    cancelled: int = 0
    disabled_playgrounds: int = 0
    erased: int = 0
    failed: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Run:
    """One run: its time, the ends of both retentions, and the report."""

    now: datetime
    cutoff: datetime
    long_ago: datetime
    report: PruneReport


def prune(*, now: datetime | None = None) -> PruneReport:
    """Delete what is older than the retention. Safe to repeat, to interrupt and to run concurrently.

    Never deletes an event that is not fanned out, or has a delivery that is pending or was completed within the retention;
    nor an endpoint whose queue is held or that has deliveries left. Pending deliveries of paused and disabled endpoints are
    dropped after BACKLOG["MAX_DAYS"]. A part that fails is logged and does not stop the others. `now` is aware; None: the
    database's clock.
    """
    moment = now or database_now()
    cutoff = moment - timedelta(days=settings().RETENTION_DAYS)
    run = _Run(moment, cutoff, moment - _LONG_KEPT, PruneReport())
    for name, part in _PARTS.items():
        try:
            part(run)
        except Exception:
            if not backlog.is_usable():
                raise  # no other part could work either
            logger.exception("webhooks: prune could not finish the part %r and goes on with the others", name)
            run.report.failed.append(name)
    return run.report


# --- deliveries that will never be sent -----------------------------------------------------------------------------


def _prune_backlogs(run: _Run) -> None:
    run.report.dropped = backlog.trim_backlogs(run.now)


def _prune_cancelled(run: _Run) -> None:
    run.report.cancelled = backlog.cancel_for_deleted()


# --- events ---------------------------------------------------------------------------------------------------------


def _prune_events(run: _Run) -> None:
    old = Event.objects.filter(pk__lt=first_id(run.cutoff), created_at__lt=run.cutoff, fanned_out_at__isnull=False)
    needed = _is_needed(run.cutoff)
    wanted = Delivery.objects.filter(event_id=OuterRef("pk")).filter(needed)
    for keys in chunks(old.exclude(Exists(wanted)), settings().ENGINE.PRUNE_BATCH):
        delete_events(keys, needed, run.report)


def _prune_by_type(run: _Run) -> None:
    for keys in retention.expired_by_type(run.now):
        delete_events(keys, retention.PENDING, run.report, attempts=True)


def _prune_by_tenant(run: _Run) -> None:
    for keys in retention.expired_by_tenant(run.now):
        delete_events(keys, retention.PENDING, run.report, attempts=True)


def _drop_payloads(run: _Run) -> None:
    retention.mark_of_tenants(run.now)
    run.report.erased = retention.drop_marked()


def _is_needed(cutoff: datetime) -> Q:
    """Match events with a pending delivery, or one completed recently (after a replay, say), whose history is still needed.
    An expired delivery was not sent: its end does not count as recent."""
    completed = Q(completed_at__gte=cutoff) & ~Q(last_outcome=OutcomeKind.EXPIRED.value)
    return Q(status=DeliveryStatus.PENDING) | completed


def _prune_endpoints(run: _Run) -> None:
    """Remove deleted endpoints, and those behind callback URLs without deliveries, whose events were pruned or erased."""
    cutoff, report = run.cutoff, run.report
    left = Delivery.objects.filter(endpoint_id=OuterRef("pk"))
    deleted = Q(status=EndpointStatus.DELETED, deleted_at__lt=cutoff)
    idle = Q(kind=EndpointKind.CALLBACK, created_at__lt=run.now - _CALLBACK_GRACE)
    empty = Endpoint.objects.filter(deleted | idle).exclude(Exists(left))
    for key in list(empty.order_by("pk").values_list("pk", flat=True)):
        if try_once(partial(_remove, key, empty), f"endpoint {key}"):
            report.endpoints += 1
            report.stats += delete(HourlyStat.objects.filter(endpoint_id=key))


def _remove(key: uuid.UUID, empty: QuerySet[Endpoint]) -> bool:
    """Remove one endpoint with its queue, subscriptions and secrets, unless it is locked, held or has new work."""
    queues = EndpointQueue.objects.filter(endpoint_id=key)
    queue = for_change(queues, skip_locked=True).first()
    if queue is None and queues.exists():
        return False
    if queue is not None and queue.holder_id is not None:
        return False
    row = for_change(empty.filter(pk=key), skip_locked=True).first()
    if row is None:
        return False
    row.delete()
    return True


# --- the rest -------------------------------------------------------------------------------------------------------


def _prune_stats(run: _Run) -> None:
    """Delete old statistics endpoint by endpoint, which matches the table's index."""
    for keys in chunks(Endpoint.objects.all(), size=500):
        old = HourlyStat.objects.filter(endpoint_id__in=keys, hour__lt=run.long_ago)
        run.report.stats += delete(old)


def _old_notifications(run: _Run) -> QuerySet[Notification]:
    """Return old notifications. Those about a backlog stay while the endpoint is off: they prevent a second one."""
    sent = Notification.objects.filter(pk__lt=first_id(run.cutoff), sent_at__isnull=False)
    off = Endpoint.objects.filter(
        pk=OuterRef("endpoint_id"), status__in=backlog.OFF, status_changed_at__lte=OuterRef("created_at")
    )
    return sent.exclude(Exists(off), kind__in=NotificationKind.about_backlogs())


def _dead_engines(run: _Run) -> QuerySet[Engine]:
    """Return engines dead for long that hold nothing; a sweep must release the queues of the others first."""
    queues = EndpointQueue.objects.filter(holder_id__isnull=False)
    holders = {key for key in queues.order_by().values_list("holder_id", flat=True).distinct() if key is not None}
    return Engine.objects.filter(alive_until__lt=run.now - _ENGINE_GRACE).exclude(pk__in=holders)


def _prune_playgrounds(run: _Run) -> None:
    """Use one transaction, to limit the lock waits; few playgrounds become idle within an hour."""
    run.report.disabled_playgrounds = in_fresh_transaction(
        partial(disable_idle_playgrounds, run.now), lock_timeout=LOCK_TIMEOUT
    )


#: Rows deleted by age alone, by their name in the report.
_OLD: dict[str, Callable[[_Run], QuerySet[Any]]] = {
    "attempts": lambda run: Attempt.objects.filter(pk__lt=first_id(run.cutoff)),
    "secrets": lambda run: Secret.objects.filter(expires_at__lt=run.cutoff),
    "replies": lambda run: IdempotencyRecord.objects.filter(created_at__lt=run.now - idempotency.KEPT),
    "portal_links": lambda run: PortalLink.objects.without_keys().filter(expires_at__lt=run.cutoff),
    "notifications": _old_notifications,
    "audit_entries": lambda run: AuditEntry.objects.filter(pk__lt=first_id(run.long_ago)),
    "engines": _dead_engines,
}


def _prune_old(name: str, run: _Run) -> None:
    setattr(run.report, name, getattr(run.report, name) + delete(_OLD[name](run)))


#: In this order. Backlogs first: the deliveries that they end can be deleted in the same run.
_PARTS: dict[str, Callable[[_Run], None]] = {
    "backlogs": _prune_backlogs,
    "cancelled": _prune_cancelled,
    "events by type": _prune_by_type,
    "events by tenant": _prune_by_tenant,
    "payloads": _drop_payloads,
    "events": _prune_events,
    "endpoints": _prune_endpoints,
    "stats": _prune_stats,
    **{name: partial(_prune_old, name) for name in _OLD},
    "playgrounds": _prune_playgrounds,
}
