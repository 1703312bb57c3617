"""EndpointNumber: an integer id of an endpoint, for products whose customers identify their webhooks by numbers."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from webhooks_app.models.database import AppQuerySet
from webhooks_app.models.endpoint import Endpoint

#: The largest number that the column can store; no endpoint has a larger one.
MAX_NUMBER = 2**63 - 1


class EndpointNumber(models.Model):
    """The number of one endpoint, never changed or reused. All tenants share one sequence, so numbers reveal no tenant."""

    id = models.BigAutoField(_("Id"), primary_key=True)
    endpoint = models.OneToOneField(Endpoint, on_delete=models.CASCADE, related_name="number")

    objects = AppQuerySet["EndpointNumber"].as_manager()

    class Meta:
        verbose_name = _("endpoint number")
        verbose_name_plural = _("Endpoint numbers")
        base_manager_name = "objects"

    def __str__(self) -> str:
        return f"number {self.id} of {self.endpoint_id}"
