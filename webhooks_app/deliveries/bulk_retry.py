"""Send again all that was given up and fits a filter, part by part: a page can show how far it is, and stop in between."""

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

#: Deliveries of one part: some tenths of a second.
PART = 1000


@dataclass(frozen=True, slots=True)
class Retried:
    """What one part did, and where the next begins; `position` None: all is done. `waiting`: of those that it did."""

    count: int
    position: uuid.UUID | None
    waiting: Waiting = NONE_WAITS


def failed_log(tenant: Tenant, wanted: LogFilter) -> DeliveryLog:
    """Those of the tenant's deliveries that fit and were given up, test events excepted, whatever status the filter names."""
    failed = replace(wanted, status=DeliveryStatus.EXHAUSTED.value, tests=False)
    return DeliveryLog(tenant.pk, failed)


def retry_part(
    tenant: Tenant,
    wanted: LogFilter,
    *,
    until: datetime,
    after: uuid.UUID | None = None,
    size: int = PART,
    actor: str = SYSTEM,
) -> Retried:
    """Send the next `size` of them again, oldest first, beginning behind the delivery `after`.

    What was given up later than `until` is left alone, and each is come to once: a receiver that goes on failing does not
    keep this going for ever. Of what is rare little may be found, or nothing, before the last part.
    """
    part = failed_log(tenant, wanted).part(after=after, until=until, size=size)
    if not part.keys:
        return Retried(0, part.position)
    rows = Delivery.objects.filter(any_of("id", part.keys))
    count = retry_failed(rows, tenant_id=tenant.pk, most=size, actor=actor)
    return Retried(count, part.position, waiting_of(rows, database_now()))
