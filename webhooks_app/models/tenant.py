"""Tenant: whose webhooks these are."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any, Self

from django.db import models

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


class Tenant(models.Model):
    """A customer of the host product. `uid` is the host's own key and never changes.

    The primary key is derived from `uid`, so that `emit` knows it without asking the database.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    uid = models.CharField(max_length=255, unique=True, help_text="The host product's own key of this customer.")
    name = models.CharField(max_length=255, blank=True)
    email = models.EmailField(
        blank=True, help_text="Who is told when deliveries fail for good or an endpoint is disabled."
    )
    wire_format = models.CharField(max_length=64, blank=True, help_text="Wire format; empty: the default wire format.")
    webhooks_enabled = models.BooleanField(
        default=True, help_text="Off: webhooks are not part of this customer's plan."
    )
    max_endpoints = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: no limit.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = TenantQuerySet.as_manager()

    class Meta:
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
        """The wire format of its new endpoints."""
        return self.wire_format or settings().DEFAULT_WIRE_FORMAT

    @staticmethod
    def id_for(uid: str) -> uuid.UUID:
        """The primary key of the tenant with this uid, whether or not the row exists yet."""
        return derived_id("tenant", uid)

    def set_id(self) -> Self:
        self.id = self.id_for(self.uid)
        return self
