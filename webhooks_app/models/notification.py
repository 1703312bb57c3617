"""Notification: the notifications to send to tenants and staff, and their kinds."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from webhooks_app.models.database import AppQuerySet
from webhooks_app.models.fields import unconstrained_key
from webhooks_app.models.ids import new_id
from webhooks_app.models.tenant import Tenant
from webhooks_app.models.times import Now


class NotificationKind(models.TextChoices):
    """The kinds, as stored in the database. `notifications.kinds` defines how each is sent, and its texts.

    The column has no `choices`, so a new kind needs no migration; at most 16 characters.
    """

    EXHAUSTED = "exhausted"
    DISABLED = "disabled"
    RECOVERED = "recovered"
    BACKLOG_EXPIRING = "backlog_expiring"
    BACKLOG_DROPPED = "backlog_dropped"
    CERTIFICATE = "certificate"

    @classmethod
    def about_backlogs(cls) -> tuple[NotificationKind, ...]:
        """Return the kinds that are sent only once, and kept, until the endpoint is enabled or resumed."""
        return cls.BACKLOG_EXPIRING, cls.BACKLOG_DROPPED


class NotificationQuerySet(AppQuerySet["Notification"]):
    def unsent(self) -> NotificationQuerySet:
        return self.filter(sent_at__isnull=True)


class Notification(models.Model):
    """A notification for the tenant and staff. Written in the transaction of its cause, sent (and marked as sent) afterwards:
    a crash in between delays it but does not lose it."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = unconstrained_key(Tenant, "notifications", _("Tenant"))
    endpoint_id = models.UUIDField()
    #: A NotificationKind, or one of another version of this app.
    kind = models.CharField(_("Kind"), max_length=16)
    #: The number of its deliveries, and one of them as an example.
    count = models.PositiveIntegerField(_("Count"), default=1)
    delivery_id = models.UUIDField(null=True)
    reason = models.CharField(max_length=255, blank=True)
    #: For BACKLOG_EXPIRING: when the first delivery is dropped; NULL if the number of deliveries decides, not a time.
    drop_at = models.DateTimeField(null=True)
    #: For CERTIFICATE: when the certificate expires.
    expires_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(_("Made"), db_default=Now(), editable=False)
    sent_at = models.DateTimeField(null=True)
    #: A run has claimed it for sending until this time; after a crash the next run takes it.
    claimed_until = models.DateTimeField(null=True, editable=False)

    objects = NotificationQuerySet.as_manager()

    class Meta:
        verbose_name = _("notification")
        verbose_name_plural = _("Notifications")
        base_manager_name = "objects"
        ordering = ["id"]
        indexes = [models.Index(fields=["tenant", "sent_at"], name="webhooks_notice_untold")]

    def __str__(self) -> str:
        return f"{self.kind} {self.endpoint_id}"
