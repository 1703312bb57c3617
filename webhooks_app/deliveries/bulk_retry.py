"""Resend all failed deliveries that match a filter, in parts, so that a page can show progress and stop in between."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import datetime

from webhooks_app.deliveries.log import DeliveryLog, LogFilter
from webhooks_app.deliveries.outlook import NONE_WAITS, Waiting, waiting_of
from webhooks_app.deliveries.resend import retry_failed
from webhooks_app.models import Delivery, DeliveryStatus, Tenant, database_now
from webhooks_app.models.lookups import any_of
from webhooks_app.tenants.audit import SYSTEM

#: Deliveries per part; one part takes some tenths of a second.
PART = 1000
#: Parts that `retry_many` does at most. If few deliveries match, a part examines thousands and resends none.
MOST_PARTS = 100


@dataclass(frozen=True, slots=True)
class Retried:
    """The result of one part, and where the next part begins.

    `position`: None when all parts are done. `waiting`: those of the part's deliveries that still wait for their endpoint.
    """

    count: int
    position: uuid.UUID | None
    waiting: Waiting = NONE_WAITS


def failed_log(tenant: Tenant, wanted: LogFilter) -> DeliveryLog:
    """Return the tenant's failed deliveries that match, without test events. The filter's own status is ignored."""
    failed = replace(wanted, status=DeliveryStatus.EXHAUSTED.value, tests=False)
    return DeliveryLog(tenant.pk, failed)


def retry_many(
    tenant: Tenant, wanted: LogFilter, *, most: int, after: uuid.UUID | None = None, actor: str = SYSTEM
) -> Retried:
    """Resend up to `most` of the failed deliveries that match, oldest first, starting after the delivery `after`. Raises NotFound
    if the endpoint is not the tenant's."""
    until, count = database_now(), 0
    for _ in range(MOST_PARTS):
        size = min(PART, most - count)
        part = retry_part(tenant, wanted, until=until, after=after, size=size, actor=actor)
        count, after = count + part.count, part.position
        if after is None or count >= most:
            break
    return Retried(count, after)


def retry_part(
    tenant: Tenant,
    wanted: LogFilter,
    *,
    until: datetime,
    after: uuid.UUID | None = None,
    size: int = PART,
    actor: str = SYSTEM,
) -> Retried:
    """Resend the next `size` failed deliveries, oldest first, starting after the delivery `after`.

    Skips deliveries that failed after `until` and handles each delivery once, so a receiver that keeps failing cannot make
    this run forever. If few rows match, a part before the last may be small or empty.
    """
    part = failed_log(tenant, wanted).part(after=after, until=until, size=size)
    if not part.keys:
        return Retried(0, part.position)
    rows = Delivery.objects.filter(any_of("id", part.keys))
    count = retry_failed(rows, tenant_id=tenant.pk, actor=actor)
    return Retried(count, part.position, waiting_of(rows, database_now()))
