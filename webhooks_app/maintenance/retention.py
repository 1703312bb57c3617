"""Retention that is shorter than RETENTION_DAYS: of an event type, of a tenant, and of payloads that are delivered."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial

from django.db.models import Exists, OuterRef, Q

from webhooks_app.conf import settings
from webhooks_app.deliveries import backlog
from webhooks_app.deliveries.erase import CHUNK, NEEDS_PAYLOAD, drop_payloads, unless_locked
from webhooks_app.locking import chunks
from webhooks_app.models import Delivery, DeliveryStatus, Event, Tenant
from webhooks_app.models.event import EventQuerySet
from webhooks_app.models.ids import first_id
from webhooks_app.models.lookups import any_of
from webhooks_app.tenants.plan import Plan, plan_of

logger = logging.getLogger(__name__)

#: The deliveries that keep an event beyond its own retention.
PENDING = Q(status=DeliveryStatus.PENDING)
#: Events of transactions that have lasted for this long are still marked: their ids are as old as their `emit`.
_LONGEST_TRANSACTION = timedelta(hours=3)


def expired_by_type(now: datetime) -> Iterator[list[uuid.UUID]]:
    """Yield batches of the events whose types have a retention of their own, which is over. In the order of their index."""
    due = _without(PENDING, Event.objects.filter(keep_until__lte=now)).order_by("keep_until", "pk")
    size = settings().ENGINE.PRUNE_BATCH
    page = list(due.values_list("keep_until", "pk")[:size])
    while page:
        yield [key for _, key in page]
        at, last = page[-1]
        after = due.filter(Q(keep_until__gt=at) | Q(pk__gt=last), keep_until__gte=at)
        page = list(after.values_list("keep_until", "pk")[:size])


def expired_by_tenant(now: datetime) -> Iterator[list[uuid.UUID]]:
    """Yield batches of the events of tenants whose retention is shorter than RETENTION_DAYS, and over."""
    for tenant, plan in _tenants_with_plans():
        days = plan.retention_days
        if days is None or days >= settings().RETENTION_DAYS:
            continue
        cutoff = now - timedelta(days=days)
        old = Event.objects.filter(tenant_id=tenant.pk, pk__lt=first_id(cutoff), created_at__lt=cutoff)
        yield from chunks(_without(PENDING, old), settings().ENGINE.PRUNE_BATCH)


def mark_of_tenants(now: datetime) -> None:
    """Mark the new events of tenants that keep no payloads after the delivery, for `drop_marked`."""
    settled = first_id(now - _LONGEST_TRANSACTION)
    for tenant, plan in _tenants_with_plans():
        if not plan.drop_body_when_delivered:
            continue
        rows = Event.objects.not_erased().filter(tenant_id=tenant.pk, drop_body=False)
        if tenant.drop_position is not None:
            rows = rows.filter(pk__gt=tenant.drop_position)
        for keys in chunks(rows, settings().ENGINE.PRUNE_BATCH):
            if unless_locked(partial(_mark, tenant, keys, settled)) is None:
                break  # the next run continues from here


def drop_marked() -> int:
    """Erase the payloads of the marked events that are delivered; return how many. Quarantined events keep theirs."""
    marked = _without(NEEDS_PAYLOAD, Event.objects.filter(drop_body=True, quarantine_reason=""))
    return sum(unless_locked(partial(drop_payloads, keys)) or 0 for keys in chunks(marked, CHUNK))


def _mark(tenant: Tenant, keys: list[uuid.UUID], settled: uuid.UUID) -> int:
    """Mark these events, and remember the last one after which no earlier one can be committed any more."""
    marked = Event.objects.filter(any_of("id", keys)).update(drop_body=True)
    Tenant.objects.filter(pk=tenant.pk).update(drop_position=min(keys[-1], settled))
    return marked


def _without(deliveries: Q, events: EventQuerySet) -> EventQuerySet:
    """Leave out the events that are not fanned out, or have such a delivery."""
    found = Delivery.objects.filter(deliveries, event_id=OuterRef("pk"))
    return events.filter(~Exists(found), fanned_out_at__isnull=False)


def _tenants_with_plans() -> Iterator[tuple[Tenant, Plan]]:
    """Yield the tenants that may have a shorter retention. A tenant whose plan cannot be read is logged and left out."""
    rows = Tenant.objects.all()
    if not settings().PLAN:
        rows = rows.filter(Q(retention_days__isnull=False) | Q(drop_body_when_delivered=True))
    for keys in chunks(rows):
        for tenant in Tenant.objects.filter(pk__in=keys).order_by("pk"):
            try:
                plan = plan_of(tenant)
            except Exception:
                if not backlog.is_usable():
                    raise
                logger.exception("webhooks: the plan of tenant %s cannot be read; its events are kept", tenant.uid)
                continue
            yield tenant, plan
