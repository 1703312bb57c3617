"""ApiKey, PortalLink and IdempotencyRecord: access for programs and users, and stored responses of their requests."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils.translation import gettext_lazy as _

from webhooks_app.core.role import Role
from webhooks_app.models.database import AppQuerySet
from webhooks_app.models.ids import new_id, public_id
from webhooks_app.models.payload_fields import PayloadTextField
from webhooks_app.models.tenant import Tenant
from webhooks_app.models.times import Now


class Scope(models.TextChoices):
    """What a key may do."""

    WEBHOOKS_READ = "webhooks:read", "read webhooks, events and deliveries"
    WEBHOOKS_WRITE = "webhooks:write", "change webhooks, resend and cancel deliveries"
    EVENTS_WRITE = "events:write", "publish events"
    PORTAL_WRITE = "portal:write", "make portal links"


class ApiKeyQuerySet(AppQuerySet["ApiKey"]):
    def usable(self) -> ApiKeyQuerySet:
        """Return the keys that are neither revoked nor expired, by the database's clock."""
        return self.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=Now()), revoked_at__isnull=True)

    def unusable(self) -> ApiKeyQuerySet:
        """Return the keys that are not usable: revoked, or expired by the database's clock."""
        return self.filter(Q(revoked_at__isnull=False) | Q(expires_at__lte=Now()))


class ApiKey(models.Model):
    """A tenant's key for the REST API. Its text is shown once; the row has only a digest, for look-ups."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="api_keys", verbose_name=_("Tenant"))
    name = models.CharField(_("Name"), max_length=255, blank=True)
    #: SHA-256 of the text, in hex. The text has 256 random bits, so a salt or slow hash would add nothing.
    digest = models.CharField(max_length=64, unique=True, editable=False)
    #: The first characters of the text, by which users distinguish their keys.
    hint = models.CharField(_("First characters"), max_length=16, editable=False)
    scopes = models.JSONField(_("Scopes"), default=list)
    created_at = models.DateTimeField(_("Made"), db_default=Now(), editable=False)
    expires_at = models.DateTimeField(_("Valid until"), null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    #: The portal link in whose session it was created; NULL: created in another way. Revoking the link revokes the key.
    portal_link = models.ForeignKey(
        "PortalLink", on_delete=models.PROTECT, null=True, editable=False, related_name="keys"
    )
    #: To the minute, so that not every request causes a write.
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        base_manager_name = "objects"
        ordering = ["-id"]
        permissions = [("revoke_apikey", "Can revoke API keys")]

    def __str__(self) -> str:
        return self.name or self.public_id

    @property
    def public_id(self) -> str:
        return public_id("key", self.id)


#: A link that may still be used, or whose session lasts.
_UNUSED_OR_AT_WORK = Q(used_at__isnull=True, expires_at__gt=Now()) | Q(session_ends_at__gt=Now())


class PortalLinkQuerySet(AppQuerySet["PortalLink"]):
    def open(self) -> PortalLinkQuerySet:
        """Return the links that are not revoked, and may still be used or have a session, by the database's clock."""
        return self.filter(_UNUSED_OR_AT_WORK, revoked_at__isnull=True)

    def alive(self) -> PortalLinkQuerySet:
        """Return the links that are open, or whose session is over but has left usable keys."""
        keys = ApiKey.objects.usable().filter(portal_link_id=OuterRef("pk"))
        return self.filter(_UNUSED_OR_AT_WORK | Exists(keys), revoked_at__isnull=True)

    def without_keys(self) -> PortalLinkQuerySet:
        """Return the links in whose sessions no keys were created. The end of any other link ends its keys, too."""
        return self.exclude(Exists(ApiKey.objects.filter(portal_link_id=OuterRef("pk"))))


class PortalLink(models.Model):
    """A link into the dashboard for one tenant. It can be used once, expires after minutes, and starts a session of hours.

    The session, and the keys that are made in it, have no more rights than the API key that created the link, and expire no
    later.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+", verbose_name=_("Tenant"))
    digest = models.CharField(max_length=64, unique=True, editable=False)
    actor = models.CharField(_("Who"), max_length=255)
    role = models.CharField(
        _("Role"),
        max_length=16,
        choices=[(Role.VIEWER.value, _("viewer")), (Role.MANAGER.value, _("manager"))],
        default=Role.VIEWER.value,
    )
    #: The scopes that keys created in its session may have.
    scopes = models.JSONField(_("Scopes"), default=list)
    #: The key that has created it; NULL: created in another way. Revoking the key revokes the link.
    api_key = models.ForeignKey(
        ApiKey, on_delete=models.PROTECT, null=True, editable=False, related_name="portal_links"
    )
    created_at = models.DateTimeField(_("Made"), db_default=Now(), editable=False)
    expires_at = models.DateTimeField(_("Valid until"))
    used_at = models.DateTimeField(_("Used"), null=True, editable=False)
    #: NULL until it is used.
    session_ends_at = models.DateTimeField(_("Session ends"), null=True, editable=False)
    revoked_at = models.DateTimeField(_("Revoked"), null=True, editable=False)

    objects = PortalLinkQuerySet.as_manager()

    class Meta:
        verbose_name = _("portal link")
        verbose_name_plural = _("Portal links")
        base_manager_name = "objects"
        permissions = [("revoke_portallink", "Can revoke portal links and end their sessions")]

    def __str__(self) -> str:
        return f"portal link {self.id}"

    @property
    def maker_expires_at(self) -> datetime | None:
        """Return when the key that has created the link expires; None if never, or if no key has created it."""
        return self.api_key.expires_at if self.api_key is not None else None

    def allows(self, scopes: Collection[str]) -> bool:
        """Return whether its maker has all these scopes."""
        return set(scopes) <= set(self.scopes)


class IdempotencyRecord(models.Model):
    """The response to a request with an Idempotency-Key, without values that are shown only once."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+", verbose_name=_("Tenant"))
    key = models.CharField(_("Key"), max_length=255)
    #: SHA-256 over method, path and body: the same key for another request is an error.
    fingerprint = PayloadTextField()
    #: NULL while the first request is being processed.
    status = models.PositiveIntegerField(_("HTTP status"), null=True)
    body = models.TextField(blank=True)
    created_at = models.DateTimeField(_("Made"), db_default=Now(), editable=False)

    objects = AppQuerySet["IdempotencyRecord"].as_manager()

    class Meta:
        verbose_name = _("stored reply")
        verbose_name_plural = _("Stored replies")
        base_manager_name = "objects"
        constraints = [models.UniqueConstraint(fields=["tenant", "key"], name="webhooks_reply_once")]
        indexes = [models.Index(fields=["created_at"], name="webhooks_reply_age")]  # read by prune

    def __str__(self) -> str:
        return f"reply to {self.key}"
