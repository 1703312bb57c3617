"""Tenant: a customer of the host product, who owns endpoints and events."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any, Self

from django.core.validators import MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from webhooks_app.conf import settings
from webhooks_app.models.database import AppQuerySet
from webhooks_app.models.ids import derived_id
from webhooks_app.models.times import Now


class TenantQuerySet(AppQuerySet["Tenant"]):
    def bulk_create(self, objs: Iterable[Tenant], *args: Any, **kwargs: Any) -> list[Tenant]:
        tenants = list(objs)
        for tenant in tenants:
            tenant.set_id()
        return super().bulk_create(tenants, *args, **kwargs)

    def wire_format_names(self) -> dict[uuid.UUID, str]:
        """Return the wire format of new endpoints of each tenant, by primary key. Creates no model instances: receivers of
        their signals may be slow, and engines do not wait for the host's code."""
        return {key: _name_or_default(name) for key, name in self.values_list("id", "wire_format")}


class Tenant(models.Model):
    """A customer of the host product. `uid` is the host's own key, and never changes.

    The primary key is derived from `uid`, so that `emit` can compute it without a query.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    uid = models.CharField(
        _("Uid"), max_length=255, unique=True, help_text=_("Your own product's key of this customer.")
    )
    name = models.CharField(_("Name"), max_length=255, blank=True)
    email = models.EmailField(
        _("E-mail address"),
        blank=True,
        help_text=_("Who is told when deliveries fail for good or an endpoint is disabled."),
    )
    wire_format = models.CharField(
        _("Wire format"), max_length=64, blank=True, help_text=_("Wire format of endpoints made from now on.")
    )
    webhooks_enabled = models.BooleanField(
        _("Webhooks are on"), default=True, help_text=_("Off: webhooks are not part of this customer's plan.")
    )
    max_endpoints = models.PositiveIntegerField(
        _("Endpoints at most"), null=True, blank=True, help_text=_("Empty: the limit of your settings.")
    )
    retention_days = models.PositiveIntegerField(
        _("Retention in days"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_(
            "How many days this customer's events are kept, if fewer than RETENTION_DAYS. Empty: RETENTION_DAYS."
        ),
    )
    drop_body_when_delivered = models.BooleanField(
        _("Erase payloads after delivery"),
        default=False,
        help_text=_(
            "Erase the payload of each event of this customer once it is delivered. "
            "While one of its deliveries has failed, it is kept for a resend."
        ),
    )
    #: The last event that `prune` has marked for this: it continues after it.
    drop_position = models.UUIDField(null=True, editable=False)
    created_at = models.DateTimeField(_("Made"), db_default=Now(), editable=False)

    objects = TenantQuerySet.as_manager()

    class Meta:
        verbose_name = _("tenant")
        verbose_name_plural = _("Tenants")
        base_manager_name = "objects"
        ordering = ["uid"]

    def __str__(self) -> str:
        return self.name or self.uid

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self._state.adding:
            self.set_id()
        super().save(*args, **kwargs)

    @property
    def wire_format_name(self) -> str:
        """Return the wire format of new endpoints."""
        return _name_or_default(self.wire_format)

    @staticmethod
    def id_for(uid: str) -> uuid.UUID:
        """Return the primary key of the tenant with this uid, even if the row does not exist yet."""
        return derived_id("tenant", uid)

    def set_id(self) -> Self:
        self.id = self.id_for(self.uid)
        return self


def _name_or_default(wire_format: str) -> str:
    return wire_format or settings().DEFAULT_WIRE_FORMAT
