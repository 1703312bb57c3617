"""What customers see of their endpoints: names, latest deliveries and live secrets."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import OuterRef, QuerySet, Subquery
from django.utils.translation import gettext as _

from webhooks_app.models import Delivery, Endpoint, Secret
from webhooks_app.stats.hourly import HourlyCounts, hours_of_each, requests_of

#: The number of deliveries on an endpoint's own page.
RECENT = 10


@dataclass(frozen=True, slots=True)
class EndpointRow:
    """One endpoint in a list: its last delivery (None: none yet) and the last 24 hours."""

    endpoint: Endpoint
    last: Delivery | None
    hours: Sequence[HourlyCounts]

    @property
    def requests(self) -> int:
        return requests_of(self.hours)

    @property
    def success_percent(self) -> int | None:
        """Return the success rate of its requests; None if there were none. 100 only if all of them succeeded."""
        if not self.requests:
            return None
        return sum(hour.succeeded for hour in self.hours) * 100 // self.requests


def name_of(endpoint: Endpoint) -> str:
    """Return the name that customers know: the URL, or a label for the playground, whose internal URL they cannot use."""
    return _("Playground") if endpoint.is_playground else endpoint.url


def endpoint_rows(endpoints: Sequence[Endpoint], now: datetime) -> list[EndpointRow]:
    """Return the list rows of these endpoints, in their order. Always three queries."""
    keys = [endpoint.pk for endpoint in endpoints]
    last, hours = _last_deliveries(keys), hours_of_each(keys, now)
    return [EndpointRow(endpoint, last.get(endpoint.pk), hours[endpoint.pk]) for endpoint in endpoints]


def recent_deliveries(endpoint: Endpoint) -> QuerySet[Delivery]:
    """Return the newest deliveries, each with its event but without the event's data."""
    rows = Delivery.objects.filter(endpoint_id=endpoint.pk).select_related("event")
    return rows.defer("event__data").order_by("-id")[:RECENT]


def live_secrets(endpoint: Endpoint) -> list[Secret]:
    """Return the secrets that sign requests, the current one first. Their values are not read."""
    rows = Secret.objects.filter(endpoint_id=endpoint.pk).live().defer("value")
    return sorted(rows, key=lambda row: (row.expires_at is not None, -row.pk.int))


def duplicate_of(endpoint: Endpoint) -> Endpoint | None:
    """Return another endpoint of the tenant with the same URL; None if there is none.

    Events that match the subscriptions of both are sent to both.
    """
    rows = Endpoint.objects.visible().filter(tenant_id=endpoint.tenant_id, url=endpoint.url)
    return None if endpoint.is_playground else rows.exclude(pk=endpoint.pk).order_by("-pk").first()


def _last_deliveries(keys: Sequence[uuid.UUID]) -> dict[uuid.UUID, Delivery]:
    newest = Delivery.objects.filter(endpoint_id=OuterRef("pk")).order_by("-id").values("pk")[:1]
    endpoints = Endpoint.objects.filter(pk__in=keys).order_by()
    found = endpoints.values_list(Subquery(newest), flat=True)
    rows = Delivery.objects.filter(pk__in=[key for key in found if key is not None])
    return {row.endpoint_id: row for row in rows}
