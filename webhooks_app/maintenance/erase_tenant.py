"""Erase the personal data of a whole tenant. The rows of its history stay, without anything that a user entered.

Each step works in short transactions of its own and can be repeated: after an error, call again.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet

from webhooks_app.conf import settings
from webhooks_app.core.endpoint_kind import EndpointKind
from webhooks_app.db import in_one_transaction
from webhooks_app.deliveries.erase import erase_all_events, erase_subject
from webhooks_app.endpoints.status import delete_endpoint
from webhooks_app.locking import chunks, in_chunks
from webhooks_app.models import (
    ActorKind,
    ApiKey,
    AuditEntry,
    Delivery,
    Endpoint,
    EndpointQueue,
    EndpointStatus,
    Event,
    IdempotencyRecord,
    Notification,
    PortalLink,
    Secret,
    Tenant,
)
from webhooks_app.models.endpoint import NO_CREDENTIALS
from webhooks_app.models.ids import public_id
from webhooks_app.models.lookups import any_of, for_change
from webhooks_app.tenants.audit import SYSTEM, record_audit_entry
from webhooks_app.tenants.identify import TenantLike, tenant_for

#: The kinds of actors that are users of the tenant, and the text that replaces the part after the colon.
_PEOPLE, _NOBODY = (ActorKind.USER, ActorKind.PORTAL), "erased"


@dataclass(frozen=True, slots=True)
class TenantErasure:
    """How many rows were erased (`events`, `endpoints`) or deleted by this call."""

    events: int
    endpoints: int
    api_keys: int


def erase_tenant(tenant: TenantLike, *, actor: str = SYSTEM) -> TenantErasure:
    """Erase what is kept of a tenant, as far as it may be personal data. Emit nothing more for it before.

    Deleted: API keys, portal links with their sessions, secrets, notifications, stored replies of the REST API. Erased: its
    events, as `erase_event` does; its endpoints, which are deleted first, with URL, description, headers, metadata, filters and
    channels; name and e-mail address; who did what in the audit log, with the details. Kept: uid and ids, event types,
    subscriptions, times, outcomes, statistics. Repeating the call is safe. Raises ConflictingState if rows stay locked.
    """
    owner = tenant_for(tenant)
    api_keys = _delete_access(owner)
    _delete_endpoints(owner, actor)
    events = erase_all_events(owner)
    endpoints = _erase_endpoints(owner)
    for rows in (_account_secrets(owner), *(model.objects.filter(tenant_id=owner.pk) for model in _DELETED)):
        in_chunks(partial(_delete, rows), rows)
    _erase_operational_events(owner, actor)
    _erase_audit_log(owner)
    _erase_row(owner, actor, TenantErasure(events, endpoints, api_keys))
    return TenantErasure(events, endpoints, api_keys)


#: Tables whose rows are deleted. They are queues and caches, and no history.
_DELETED: tuple[Any, ...] = (IdempotencyRecord, Notification)


@in_one_transaction
def _delete_access(owner: Tenant) -> int:
    """Delete keys and links, which refer to each other. Their sessions end."""
    keys, links = ApiKey.objects.filter(tenant_id=owner.pk), PortalLink.objects.filter(tenant_id=owner.pk)
    keys.update(portal_link=None)
    links.delete()
    return keys.delete()[0]


def _delete_endpoints(owner: Tenant, actor: str) -> None:
    """Delete all but those behind callback URLs, which an event of this tenant may name again."""
    there = Endpoint.objects.without_callbacks().filter(tenant_id=owner.pk).exclude(status=EndpointStatus.DELETED)
    for keys in chunks(there):
        for key in keys:
            delete_endpoint(key, actor=actor)


def _erase_endpoints(owner: Tenant) -> int:
    """Erase what was entered about the deleted endpoints, and the callback URLs that no event names any more."""
    deleted = Endpoint.objects.without_callbacks().filter(tenant_id=owner.pk, status=EndpointStatus.DELETED)
    erased = in_chunks(partial(_erase_chunk, deleted), deleted)
    hidden = Endpoint.objects.filter(tenant_id=owner.pk, kind=EndpointKind.CALLBACK).exclude(url="")
    needed = Event.objects.pending().filter(tenant_id=owner.pk, callback_url=OuterRef("url"))
    waiting = Delivery.objects.pending().filter(endpoint_id=OuterRef("pk"))
    idle = hidden.filter(~Exists(needed), ~Exists(waiting))
    return erased + in_chunks(partial(_erase_chunk, idle), hidden)


def _erase_chunk(rows: QuerySet[Endpoint], ids: list[uuid.UUID]) -> int:
    # The queues first: a fan-out that names a callback URL again holds them.
    list(EndpointQueue.objects.filter(any_of("endpoint_id", ids)).locked().values_list("endpoint_id"))
    Secret.objects.filter(any_of("endpoint_id", ids)).delete()
    return rows.filter(any_of("id", ids)).update(
        url="", description="", metadata={}, filters={}, channels=[], status_reason="", **NO_CREDENTIALS
    )


def _account_secrets(owner: Tenant) -> QuerySet[Secret]:
    return Secret.objects.filter(tenant_id=owner.pk, endpoint__isnull=True)


def _delete(rows: QuerySet[Any], ids: list[uuid.UUID]) -> int:
    return rows.filter(any_of("id", ids)).delete()[0]


def _erase_operational_events(owner: Tenant, actor: str) -> None:
    """Erase the operational events about the tenant's endpoints, which name their URLs to the operator's tenant."""
    operator = settings().NOTIFICATIONS.OPERATIONS_TENANT
    if not operator or operator == owner.uid:
        return
    for keys in chunks(Endpoint.objects.filter(tenant_id=owner.pk)):
        for key in keys:
            erase_subject(operator, public_id("wh", key), actor=actor)


def _erase_audit_log(owner: Tenant) -> None:
    entries = AuditEntry.objects.filter(tenant_id=owner.pk)

    def erase(ids: list[uuid.UUID]) -> int:
        some = entries.filter(any_of("id", ids))
        for kind in _PEOPLE:
            some.by(kind).update(actor=f"{kind}:{_NOBODY}")
        return some.update(detail={})

    in_chunks(erase, entries)


@in_one_transaction
def _erase_row(owner: Tenant, actor: str, report: TenantErasure) -> None:
    row = for_change(Tenant.objects.all()).get(pk=owner.pk)
    row.name, row.email = "", ""
    row.save(update_fields=["name", "email"])
    record_audit_entry(row.pk, actor, "tenant.erased", row.uid[:64], count=report.events)
