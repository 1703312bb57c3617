"""Write the notifications about certificates of endpoints that will expire, or have expired."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from webhooks_app.core.certificates import next_warning
from webhooks_app.db import in_fresh_transaction
from webhooks_app.models import Endpoint, Notification, NotificationKind
from webhooks_app.models.lookups import for_change

#: The reason of the notification: the certificate can still be used, or not any more.
EXPIRES, EXPIRED = "expires", "expired"
#: The most endpoints that one call handles; the next call continues.
_AT_ONCE = 500


def notify_about_certificates(now: datetime) -> int:
    """Write a notification for each endpoint whose next warning is due; return how many. Leaves locked endpoints to the next
    call."""
    return in_fresh_transaction(partial(_notify, now))


def _notify(now: datetime) -> int:
    due = Endpoint.objects.filter(certificate_warning_at__lte=now).order_by("certificate_warning_at")
    rows = for_change(due.only("pk", "tenant_id", "certificate_expires_at"), skip_locked=True)[:_AT_ONCE]
    notifications = []
    for row in rows:
        expires_at = row.certificate_expires_at
        Endpoint.objects.filter(pk=row.pk).update(certificate_warning_at=next_warning(expires_at, now))
        if expires_at is not None:
            reason = EXPIRES if expires_at > now else EXPIRED
            notifications.append(
                Notification(
                    tenant_id=row.tenant_id,
                    endpoint_id=row.pk,
                    kind=NotificationKind.CERTIFICATE,
                    reason=reason,
                    expires_at=expires_at,
                )
            )
    Notification.objects.bulk_create(notifications)
    return len(notifications)
