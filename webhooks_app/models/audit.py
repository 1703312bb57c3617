"""AuditEntry: the audit log."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from webhooks_app.models.database import AppQuerySet
from webhooks_app.models.fields import unconstrained_key
from webhooks_app.models.ids import new_id
from webhooks_app.models.tenant import Tenant
from webhooks_app.models.times import Now


class ActorKind(models.TextChoices):
    """The kinds of actors. The value is the part of an actor's text before the colon."""

    USER = "user", "people"
    STAFF = "staff", "the host's staff"
    KEY = "key", "API keys"
    PORTAL = "portal", "portal links"
    SYSTEM = "system", "the app itself"


class AuditEntryQuerySet(AppQuerySet["AuditEntry"]):
    def on(self, target: str) -> AuditEntryQuerySet:
        """Return the entries about a target. `target`: a public id."""
        return self.filter(target=target)

    def by(self, kind: ActorKind) -> AuditEntryQuerySet:
        """No index finds these."""
        if kind == ActorKind.SYSTEM:
            return self.exclude(actor__contains=":")
        return self.filter(actor__startswith=f"{kind}:")


class AuditEntry(models.Model):
    """One action of a user, an API key or the app itself. Append-only. Contains no secrets and no payloads."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = unconstrained_key(Tenant, "audit", _("Tenant"))
    at = models.DateTimeField(db_default=Now(), editable=False)
    #: The actor: "user:anna", "staff:bert", "key:wk_…", "system".
    actor = models.CharField(_("Who"), max_length=255)
    #: The action: "endpoint.created", "secret.rotated", "delivery.replayed" …
    verb = models.CharField(_("Did"), max_length=64)
    #: The public id of the object.
    target = models.CharField(_("What"), max_length=64, blank=True)
    detail = models.JSONField(_("Detail"), default=dict)

    objects = AuditEntryQuerySet.as_manager()

    class Meta:
        verbose_name = _("audit entry")
        verbose_name_plural = _("Audit log")
        base_manager_name = "objects"
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["tenant", "id"], name="webhooks_audit_tenant"),
            # For the audit log of one endpoint.
            models.Index(fields=["tenant", "target", "id"], name="webhooks_audit_target"),
        ]

    def __str__(self) -> str:
        return f"{self.actor} {self.verb} {self.target}"
