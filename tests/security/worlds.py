"""A tenant with a row of everything that it can have. Each of its texts holds its mark, so that it is seen where it leaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db.models import Model

from tests.factories import (
    AttemptFactory,
    DeliveryFactory,
    EndpointFactory,
    EventFactory,
    NotificationFactory,
    TenantFactory,
)
from webhooks_app.endpoints.numeric_ids import number_endpoints
from webhooks_app.models import AuditEntry, Endpoint, EventChannel, HourlyStat, Scope, Tenant
from webhooks_app.playground.service import open_playground
from webhooks_app.tenants.api_keys import create_api_key
from webhooks_app.tenants.portal import create_portal_link


@dataclass(frozen=True)
class World:
    tenant: Tenant
    mark: str
    #: An API key with all scopes.
    key: str
    #: First part of a path → what its ids are, as they stand in paths.
    ids: dict[str, str]
    attempt: str

    def rows(self) -> dict[str, Any]:
        """Everything in the database that is this tenant's, to compare before and after."""
        return {
            model._meta.label: _rows_of(model, self.tenant)
            for model in apps.get_app_config("webhooks_app").get_models()
        }


def world(uid: str) -> World:
    mark = f"mark-of-{uid}"
    tenant = TenantFactory(uid=uid, name=mark, email=f"{mark}@customer.example")
    endpoint = EndpointFactory(
        tenant=tenant,
        url=f"https://{mark}.example.com/{mark}",
        description=mark,
        metadata={mark: mark},
        channels=[mark],
        headers={"X-Own": mark},
        filters={"data.text": mark},
    )
    event = EventFactory(tenant=tenant, payload={"text": mark}, subject=mark, channels=[mark], idempotency_key=mark)
    EventChannel.objects.create(tenant=tenant, event=event, channel=mark)
    delivery = DeliveryFactory(endpoint=endpoint, event=event, exhausted=True)
    attempt = AttemptFactory(delivery=delivery, response_body=mark.encode(), response_headers=f"X: {mark}", detail=mark)
    NotificationFactory(endpoint=endpoint, delivery_id=delivery.pk)
    HourlyStat.objects.create(
        endpoint=endpoint, hour=event.created_at.replace(minute=0, second=0, microsecond=0), exhausted=1
    )
    key, text = create_api_key(tenant, name=mark, scopes=Scope.values)
    create_portal_link(tenant, actor=f"user:{mark}")
    open_playground(tenant)
    number_endpoints([endpoint])
    ids = {
        "webhooks": endpoint.public_id,
        "endpoints": endpoint.public_id,
        "events": event.public_id,
        "deliveries": delivery.public_id,
        "keys": key.public_id,
    }
    return World(tenant, mark, text, ids, str(attempt.pk))


def _rows_of(model: type[Model], tenant: Tenant) -> list[Any]:
    """The rows as dicts, without what a key's use writes."""
    names = {field.name for field in model._meta.get_fields()}
    manager: Any = model._default_manager
    if model is Tenant:
        rows = manager.filter(pk=tenant.pk)
    elif "tenant" in names:
        rows = manager.filter(tenant_id=tenant.pk)
    elif "endpoint" in names:
        rows = manager.filter(endpoint_id__in=Endpoint.objects.filter(tenant=tenant).values("pk"))
    else:
        return []
    if model is AuditEntry:
        rows = rows.exclude(verb="api_key.created")
    used = {"last_used_at", "last_used_prefix"}
    return [{name: value for name, value in row.items() if name not in used} for row in rows.order_by("pk").values()]
