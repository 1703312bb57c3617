"""Which pending events one fan-out takes. Inside its transaction: the rows stay locked until it ends; nobody waits for them."""

from __future__ import annotations

import uuid
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet

from webhooks_app.models import Endpoint, EndpointStatus, Event, Tenant
from webhooks_app.models.lookups import for_change


def claim_any(using: str, limit: int) -> list[Any]:
    """Up to `limit` pending events that nobody else has, oldest first. Each tells whether it must be taken in its tenant's
    order instead, in the attribute `in_order`."""
    fifo = Endpoint.objects.using(using).filter(tenant_id=OuterRef("tenant_id"), fifo=True)
    fifo = fifo.exclude(status=EndpointStatus.DELETED)
    pending = _pending(using).annotate(in_order=Exists(fifo)).order_by("id")
    if limit == 1:
        # A bad event is being looked for; one that is only named would be claimed again and again, and hide it.
        pending = pending.filter(in_order=False)
    return list(for_change(pending, skip_locked=True)[:limit])


def claim_in_order(tenant_id: uuid.UUID, using: str, limit: int) -> list[Event]:
    """One tenant's pending events in the order of their ids. Whoever has the tenant's row has them all; others get none."""
    if not list(for_change(Tenant.objects.using(using).filter(id=tenant_id), skip_locked=True)):
        return []
    pending = _pending(using).filter(tenant_id=tenant_id).order_by("id")
    return list(for_change(pending)[:limit])


def _pending(using: str) -> QuerySet[Event]:
    # What the fan-out needs. The data only where a subscription has filters: 500 times 256 KiB is much to read for nothing.
    needed = ("id", "tenant_id", "tenant_uid", "type", "channels", "callback_url", "created_at", "fan_out_position")
    return Event.objects.using(using).pending().only(*needed)
