"""Operational events: what people read by e-mail, as webhooks for a program of the operator's.

They go to the tenant that OPERATIONS_TENANT names, through the same pipeline as any event: its endpoints subscribe to
`webhooks.*`. Its own endpoints' troubles make none, or one that is down would go on producing its own work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from webhooks_app.conf import settings
from webhooks_app.core.catalogue import EventType
from webhooks_app.events.emit import EventInput, emit_many
from webhooks_app.models import Endpoint, Notification, NotificationKind, Tenant
from webhooks_app.models.ids import public_id

_EXAMPLE = {
    "tenant": "customer-17",
    "endpoint": "wh_0197f3a49c7e7d0f9a5b3c1d2e4f6a8b",
    "url": "https://example.com/webhooks",
    "count": 1,
    "reason": "days",
    "delivery": "dlv_0197f3a49c7e7d0f9a5b3c1d2e4f6a8c",
    "happened_at": "2026-04-01T10:00:05.000Z",
}
_BACKLOG_EXAMPLE = {**_EXAMPLE, "count": 1200, "reason": "age"}
_TYPES: dict[str, EventType] = {
    NotificationKind.EXHAUSTED: EventType(
        "webhooks.delivery_exhausted", "Deliveries to an endpoint were given up.", _EXAMPLE, group="Operations"
    ),
    NotificationKind.DISABLED: EventType(
        "webhooks.endpoint_disabled", "An endpoint was switched off.", _EXAMPLE, group="Operations"
    ),
    NotificationKind.RECOVERED: EventType(
        "webhooks.endpoint_recovered", "An endpoint that had failed answers again.", _EXAMPLE, group="Operations"
    ),
    NotificationKind.BACKLOG_EXPIRING: EventType(
        "webhooks.backlog_expiring",
        "Deliveries that are pending for a paused or disabled endpoint will be dropped.",
        {**_BACKLOG_EXAMPLE, "drop_at": "2026-04-07T10:00:05.000Z"},
        group="Operations",
    ),
    NotificationKind.BACKLOG_DROPPED: EventType(
        "webhooks.backlog_dropped",
        "Deliveries that were pending for a paused or disabled endpoint were dropped.",
        _BACKLOG_EXAMPLE,
        group="Operations",
    ),
}
#: In the catalogue where OPERATIONS_TENANT is set.
EVENT_TYPES = tuple(_TYPES.values())


def publish(tenant: Tenant, notifications: Sequence[Notification], *, using: str) -> int:
    """Emit one event for each notification of this tenant, inside the caller's transaction; return how many.

    Notifications of kinds that have no event type are left out.
    """
    operator = settings().OPERATIONS_TENANT
    notifications = [notification for notification in notifications if notification.kind in _TYPES]
    if not operator or tenant.uid == operator:
        return 0
    urls = dict(
        Endpoint.objects.using(using)
        .filter(pk__in={notification.endpoint_id for notification in notifications})
        .values_list("pk", "url")
    )
    return len(
        emit_many(
            [
                EventInput(
                    type=_TYPES[notification.kind].name,
                    data=_data(tenant, notification, urls),
                    tenant=operator,
                    subject=public_id("wh", notification.endpoint_id),
                    idempotency_key=f"notification:{notification.pk.hex}",
                )
                for notification in notifications
            ],
            using=using,
            limited=False,
        )
    )


def _data(tenant: Tenant, notification: Notification, urls: dict[Any, str]) -> dict[str, Any]:
    data = {
        "tenant": tenant.uid,
        "endpoint": public_id("wh", notification.endpoint_id),
        "url": urls.get(notification.endpoint_id, ""),
        "count": notification.count,
        "reason": notification.reason,
        "delivery": public_id("dlv", notification.delivery_id) if notification.delivery_id else None,
        "happened_at": notification.created_at,
    }
    return {**data, "drop_at": notification.drop_at} if notification.kind == NotificationKind.BACKLOG_EXPIRING else data
