"""Prune: delete what is older than it need be, in batches, each in a short transaction of its own.

Ids begin with the time they were made at, so "older than" is a range of the primary key and needs no index of its own.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from webhooks_app.actions import replies
from webhooks_app.actions.pending import cancel_all
from webhooks_app.actions.playground import rest_idle_playgrounds
from webhooks_app.actions.rows import chunks
from webhooks_app.conf import settings
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
    EventChannel,
    HourlyStat,
    Notice,
    PortalLink,
    Secret,
    StoredReply,
    database_now,
)
from webhooks_app.models.ids import first_id
from webhooks_app.models.lookups import for_change
from webhooks_app.pipeline.transactions import in_fresh_transaction, pipeline_alias

#: Hourly statistics and the audit trail are kept for so many months: so that a month can be compared with that of last year.
MONTHS_KEPT = 13
_LONG_KEPT = MONTHS_KEPT * timedelta(days=30.5)
#: A dead engine's row is somebody's to reap for this long, then it is only litter.
_ENGINE_GRACE = timedelta(hours=1)


@dataclass(slots=True)
class PruneReport:
    """How many rows went; `cancelled` counts pending deliveries of deleted endpoints, which are not removed yet,
    `rested` the idle playgrounds that were switched off."""

    attempts: int = 0
    deliveries: int = 0
    channels: int = 0
    events: int = 0
    endpoints: int = 0
    secrets: int = 0
    stats: int = 0
    notices: int = 0
    audit_entries: int = 0
    engines: int = 0
    replies: int = 0
    portal_links: int = 0
    cancelled: int = 0
    rested: int = 0


def prune(*, now: datetime | None = None, using: str | None = None) -> PruneReport:
    """Delete what has had its time; safe to repeat, to interrupt and to run twice at once.

    Never an event that is not fanned out, has a pending delivery or one that was completed within the retention; never
    an endpoint whose queue is held or that has deliveries left. `now` is aware; None: the database's clock.
    """
    alias = using or pipeline_alias()
    moment = now or database_now(alias)
    cutoff = moment - timedelta(days=settings().RETENTION_DAYS)
    long_ago = moment - _LONG_KEPT
    report = PruneReport()
    report.cancelled = _cancel_for_deleted(alias)
    report.attempts = _delete(Attempt.objects.using(alias).filter(pk__lt=first_id(cutoff)))
    _prune_events(cutoff, report, alias)
    _prune_endpoints(cutoff, report, alias)
    report.secrets = _delete(Secret.objects.using(alias).filter(expires_at__lt=cutoff))
    report.stats += _prune_stats(long_ago, alias)
    report.replies = _delete(StoredReply.objects.using(alias).filter(created_at__lt=moment - replies.KEPT))
    report.portal_links = _delete(PortalLink.objects.using(alias).filter(expires_at__lt=cutoff))
    report.notices = _delete(Notice.objects.using(alias).filter(pk__lt=first_id(cutoff), told_at__isnull=False))
    report.audit_entries = _delete(AuditEntry.objects.using(alias).filter(pk__lt=first_id(long_ago)))
    report.engines = _prune_engines(moment, alias)
    report.rested = rest_idle_playgrounds(moment, using=alias)
    return report


def _delete(rows: QuerySet[Any]) -> int:
    """Delete the rows batch by batch. The condition is checked again with each deletion: rows change meanwhile."""
    size, total = settings().PRUNE_BATCH, 0
    page = rows.order_by("pk")
    while keys := list(page.values_list("pk", flat=True)[:size]):
        total += in_fresh_transaction(partial(_delete_now, rows.filter(pk__in=keys)), rows.db)
        page = rows.order_by("pk").filter(pk__gt=keys[-1])
    return total


def _delete_now(rows: QuerySet[Any]) -> int:
    _, counts = rows.delete()
    return counts.get(rows.model._meta.label, 0)


# --- events ---------------------------------------------------------------------------------------------------------


def _prune_events(cutoff: datetime, report: PruneReport, using: str) -> None:
    """From the oldest event on: first its deliveries, then itself, so that an interruption leaves nothing adrift."""
    needed = Delivery.objects.using(using).filter(event_id=OuterRef("pk")).filter(_is_needed(cutoff))
    old = Event.objects.using(using).filter(pk__lt=first_id(cutoff), created_at__lt=cutoff, fanned_out_at__isnull=False)
    prunable = old.exclude(Exists(needed)).order_by("pk")
    size = settings().PRUNE_BATCH
    page = prunable
    while keys := list(page.values_list("pk", flat=True)[:size]):
        finished = Delivery.objects.using(using).filter(event_id__in=keys).exclude(_is_needed(cutoff))
        report.deliveries += _delete(finished)
        report.channels += _delete(EventChannel.objects.using(using).filter(event_id__in=keys))
        left = Delivery.objects.using(using).filter(event_id=OuterRef("pk"))
        report.events += _delete(Event.objects.using(using).filter(pk__in=keys).exclude(Exists(left)))
        page = prunable.filter(pk__gt=keys[-1])


def _is_needed(cutoff: datetime) -> Q:
    """Pending, or completed so lately (after a replay, say) that its history is still of interest."""
    return Q(status=DeliveryStatus.PENDING) | Q(completed_at__gte=cutoff)


# --- endpoints ------------------------------------------------------------------------------------------------------


def _prune_endpoints(cutoff: datetime, report: PruneReport, using: str) -> None:
    """Deleted ones, and hidden ones that no callback has used for long."""
    left = Delivery.objects.using(using).filter(endpoint_id=OuterRef("pk"))
    deleted = Q(status=EndpointStatus.DELETED, deleted_at__lt=cutoff)
    idle = Q(hidden=True, created_at__lt=cutoff)
    empty = Endpoint.objects.using(using).filter(deleted | idle).exclude(Exists(left))
    for key in list(empty.order_by("pk").values_list("pk", flat=True)):
        if in_fresh_transaction(partial(_remove, key, empty, using), using):
            report.endpoints += 1
            report.stats += _delete(HourlyStat.objects.using(using).filter(endpoint_id=key))


def _cancel_for_deleted(using: str) -> int:
    """A fan-out that was just running when an endpoint was deleted may have made more deliveries for it."""
    waiting = Delivery.objects.using(using).pending().filter(endpoint_id=OuterRef("pk"))
    deleted = Endpoint.objects.using(using).filter(Exists(waiting), status=EndpointStatus.DELETED)
    keys = list(deleted.values_list("pk", flat=True))
    return sum(cancel_all(Delivery.objects.using(using).filter(endpoint_id=key), using=using) for key in keys)


def _remove(key: uuid.UUID, empty: QuerySet[Endpoint], using: str) -> bool:
    """Remove one endpoint with its queue, subscriptions and secrets, unless it is held or has got work meanwhile."""
    queue = EndpointQueue.objects.using(using).filter(endpoint_id=key).locked().first()
    if queue is not None and queue.holder_id is not None:
        return False
    row = for_change(empty.filter(pk=key)).first()
    if row is None:
        return False
    row.delete()
    return True


# --- the rest -------------------------------------------------------------------------------------------------------


def _prune_stats(before: datetime, using: str) -> int:
    """By endpoint, since that is how the table is indexed."""
    total = 0
    for keys in chunks(Endpoint.objects.using(using).all(), size=500):
        total += _delete(HourlyStat.objects.using(using).filter(endpoint_id__in=keys, hour__lt=before))
    return total


def _prune_engines(now: datetime, using: str) -> int:
    """Engines long dead that hold nothing; the queues of the others are a reaper's business first."""
    queues = EndpointQueue.objects.using(using).filter(holder_id__isnull=False)
    holders = {key for key in queues.order_by().values_list("holder_id", flat=True).distinct() if key is not None}
    return _delete(Engine.objects.using(using).filter(alive_until__lt=now - _ENGINE_GRACE).exclude(pk__in=holders))
