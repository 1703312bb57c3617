"""Callback URLs: an event with a callback URL is sent to an endpoint of its own per (tenant, URL), created on first use."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable

from webhooks_app.address_settings import address_policy
from webhooks_app.core.addresses import check_url
from webhooks_app.core.endpoint_kind import EndpointKind
from webhooks_app.core.secrets import new_secret
from webhooks_app.engine.matching import Target
from webhooks_app.engine.types import PendingEvent
from webhooks_app.models import Endpoint, EndpointQueue, Secret, Tenant
from webhooks_app.models.ids import derived_id
from webhooks_app.models.lookups import any_of, for_change
from webhooks_app.wire_formats import get_wire_format


def callback_endpoint_id(tenant_id: uuid.UUID, url: str) -> uuid.UUID:
    """Return the endpoint's primary key. It is deterministic, so workers that create it concurrently create one row."""
    return derived_id("callback", str(tenant_id), url)


def callback_targets(events: Iterable[PendingEvent], using: str) -> dict[uuid.UUID, Target]:
    """Return the target of each event with a callback URL, by event id. Create missing endpoints, queues and secrets."""
    events = [event for event in events if event.callback_url]
    if not events:
        return {}
    keys = {event.id: callback_endpoint_id(event.tenant_id, event.callback_url) for event in events}
    wanted = {keys[event.id]: event for event in events}
    _create_missing(wanted, using)
    wire_formats = dict(Endpoint.objects.using(using).filter(any_of("id", wanted)).values_list("id", "wire_format"))
    return {event.id: Target(keys[event.id], event.tenant_id, wire_formats[keys[event.id]]) for event in events}


def keep_callbacks(events: Iterable[PendingEvent], endpoint_ids: Collection[uuid.UUID], using: str) -> None:
    """Keep `prune` from removing idle endpoints of this kind until the deliveries of these events are written.

    Endpoints that it has just removed are created again, and those whose URL was erased with an earlier event get it again: only
    now, since an event that is not claimed yet could be erased, too. `endpoint_ids`: all the queues that the transaction will
    write, since all are locked in one order or not at all.
    """
    events = [event for event in events if event.callback_url]
    if events:
        queues = EndpointQueue.objects.using(using).filter(any_of("endpoint_id", endpoint_ids))
        list(queues.locked().values_list("endpoint_id"))
        wanted = {callback_endpoint_id(event.tenant_id, event.callback_url): event for event in events}
        _create_missing(wanted, using)
        endpoints = Endpoint.objects.using(using)
        erased = endpoints.filter(any_of("id", wanted), url="").order_by("id")
        for key, wire_format in list(erased.values_list("id", "wire_format")):
            ensure_account_secret(wanted[key].tenant_id, wire_format, using)  # it was erased with the tenant
            endpoints.filter(id=key).update(url=wanted[key].callback_url)


def ensure_account_secret(tenant_id: uuid.UUID, wire_format: str, using: str) -> None:
    """Create the tenant's first account secret if it has none. It was never shown to a user: showing one means rotating."""
    secrets = Secret.objects.using(using)
    if secrets.filter(tenant_id=tenant_id, endpoint__isnull=True).exists():
        return
    tenant = Tenant.objects.using(using).filter(id=tenant_id)
    list(for_change(tenant).values_list("id"))  # a rotation may be making the first one
    if secrets.filter(tenant_id=tenant_id, endpoint__isnull=True).exists():
        return
    secret = Secret(id=derived_id("account-secret", str(tenant_id)), tenant_id=tenant_id)
    secret.seal(new_secret(get_wire_format(wire_format).secret_format))
    secrets.bulk_create([secret], ignore_conflicts=True)


def _create_missing(wanted: dict[uuid.UUID, PendingEvent], using: str) -> None:
    known = set(Endpoint.objects.using(using).filter(any_of("id", wanted)).values_list("id", flat=True))
    missing = {key: event for key, event in wanted.items() if key not in known}
    if not missing:
        return
    tenants = Tenant.objects.using(using).filter(any_of("id", {event.tenant_id for event in missing.values()}))
    wire_formats = tenants.wire_format_names()
    for event in missing.values():
        wire_format = get_wire_format(wire_formats[event.tenant_id])
        if wire_format.https_only:  # `emit` could not know: it does not read the tenant
            check_url(event.callback_url, address_policy(), https_only=True)
    for tenant_id in sorted(wire_formats):
        ensure_account_secret(tenant_id, wire_formats[tenant_id], using)
    endpoints = [
        Endpoint(
            id=key,
            tenant_id=event.tenant_id,
            url=event.callback_url,
            kind=EndpointKind.CALLBACK,
            wire_format=wire_formats[event.tenant_id],
        )
        for key, event in sorted(missing.items())
    ]
    Endpoint.objects.using(using).bulk_create(endpoints, ignore_conflicts=True)
    EndpointQueue.objects.using(using).create_for(endpoints, ignore_conflicts=True)
