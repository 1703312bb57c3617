"""Operational events: notifications as webhooks, for a program of the operator.

They go to the tenant that OPERATIONS_TENANT names, through the same pipeline as any event: its endpoints subscribe to
`webhooks.*`. Failures of this tenant's own endpoints create none; otherwise a failing endpoint would create its own work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from webhooks_app.conf import settings
from webhooks_app.events.emit import EventInput, emit_many
from webhooks_app.models import Endpoint, Notification, Tenant
from webhooks_app.models.ids import public_id
from webhooks_app.notifications.kinds import KINDS

#: In the catalogue if OPERATIONS_TENANT is set.
EVENT_TYPES = tuple(kind.event for kind in KINDS.values())


def publish(tenant: Tenant, notifications: Sequence[Notification]) -> int:
    """Emit one event for each notification of this tenant, inside the caller's transaction; return how many.

    Notifications of unknown kinds are left out.
    """
    operator = settings().NOTIFICATIONS.OPERATIONS_TENANT
    notifications = [notification for notification in notifications if notification.kind in KINDS]
    if not operator or tenant.uid == operator:
        return 0
    urls = dict(
        Endpoint.objects.filter(pk__in={notification.endpoint_id for notification in notifications}).values_list(
            "pk", "url"
        )
    )
    return len(
        emit_many(
            [
                EventInput(
                    type=KINDS[notification.kind].event.name,
                    data=_data(tenant, notification, urls),
                    tenant=operator,
                    subject=public_id("wh", notification.endpoint_id),
                    idempotency_key=f"notification:{notification.pk.hex}",
                )
                for notification in notifications
            ],
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
        "drop_at": notification.drop_at,
        "expires_at": notification.expires_at,
    }
    return {name: data[name] for name in KINDS[notification.kind].event.example}
