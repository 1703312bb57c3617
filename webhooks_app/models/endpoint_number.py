"""EndpointNumber: a whole number for an endpoint, where a product's customers know their webhooks by numbers."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from webhooks_app.models.database import AppQuerySet
from webhooks_app.models.endpoint import Endpoint

#: What the database takes for a number; nothing beyond it can be anybody's.
MAX_NUMBER = 2**63 - 1


class EndpointNumber(models.Model):
    """Given once, never changed and never used again. Numbers count all tenants' endpoints: they tell nothing of whose."""

    id = models.BigAutoField(_("Id"), primary_key=True)
    endpoint = models.OneToOneField(Endpoint, on_delete=models.CASCADE, related_name="number")

    objects = AppQuerySet["EndpointNumber"].as_manager()

    class Meta:
        verbose_name = _("endpoint number")
        verbose_name_plural = _("Endpoint numbers")
        base_manager_name = "objects"

    def __str__(self) -> str:
        return f"number {self.id} of {self.endpoint_id}"
