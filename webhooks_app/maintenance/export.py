"""Export everything that is kept of a tenant, as JSON Lines. Secrets are left out, and so are digests of keys. Redacted
fields are redacted here, too.

Rows are read in pages by their keys, so an export needs the memory of one page, however much there is, and no transaction
stays open while the file is written.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any, TypeVar

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Model, QuerySet

from webhooks_app.core.js_json import escape_surrogates
from webhooks_app.db import write
from webhooks_app.endpoints.client_tls import client_tls_facts
from webhooks_app.endpoints.settings import NAMES
from webhooks_app.exceptions import SealingError
from webhooks_app.models import (
    ApiKey,
    Attempt,
    AuditEntry,
    Delivery,
    Endpoint,
    Event,
    HourlyStat,
    Notification,
    PortalLink,
    Tenant,
)
from webhooks_app.models.ids import public_id
from webhooks_app.models.lookups import any_of
from webhooks_app.tenants.audit import SYSTEM, record_audit_entry
from webhooks_app.tenants.identify import TenantLike, tenant_for

#: Rows that are read at once: payloads have up to 256 KiB, responses up to 16 KiB.
_PAGE = 50

Row = dict[str, Any]
_Shown = TypeVar("_Shown")


def export_tenant(tenant: TenantLike, *, actor: str = SYSTEM) -> Iterator[str]:
    """Yield everything that is kept of the tenant, one line of JSON (with its line break) for each row.

    Each line is an object; its `kind` says what it is: "tenant", "endpoint", "api_key", "portal_link", "event", "delivery",
    "attempt", "statistics", "notification", "audit". Ids are those of the REST API. The first line is that of the tenant, and
    the last one has the kind "end": a file without it is incomplete. Rows that are written meanwhile may be missing.
    """
    owner = tenant_for(tenant)
    with write():
        record_audit_entry(owner.pk, actor, "tenant.exported", owner.uid[:64])
    yield _line("tenant", _tenant(owner))
    count = 1
    for kind, rows in _rows_of(owner):
        for row in rows:
            yield _line(kind, row)
            count += 1
    yield _line("end", {"lines": count + 1})


def _rows_of(owner: Tenant) -> Iterator[tuple[str, Iterator[Row]]]:
    """Yield each kind with its rows. All tables are read through an index that begins with the tenant or the endpoint."""
    endpoints = Endpoint.objects.filter(tenant_id=owner.pk)
    keys = list(endpoints.order_by("pk").values_list("pk", flat=True))
    yield "endpoint", map(_endpoint, _pages(endpoints.prefetch_related("subscriptions")))
    yield "api_key", map(_api_key, _pages(ApiKey.objects.filter(tenant_id=owner.pk)))
    yield "portal_link", map(_portal_link, _pages(PortalLink.objects.filter(tenant_id=owner.pk)))
    yield "event", map(_event, _pages(Event.objects.filter(tenant_id=owner.pk)))
    yield "delivery", map(_delivery, _pages(Delivery.objects.filter(tenant_id=owner.pk)))
    yield "attempt", map(_attempt, _attempts(owner))
    yield "statistics", (_hour(row) for key in keys for row in _pages(HourlyStat.objects.filter(endpoint_id=key)))
    yield "notification", map(_notification, _pages(Notification.objects.filter(tenant_id=owner.pk)))
    yield "audit", map(_audit, _pages(AuditEntry.objects.filter(tenant_id=owner.pk)))


def _pages(rows: QuerySet[Any]) -> Iterator[Any]:
    """Yield the rows in the order of their keys, a page at a time."""
    ordered = rows.order_by("pk")
    page = list(ordered[:_PAGE])
    while page:
        yield from page
        page = list(ordered.filter(pk__gt=page[-1].pk)[:_PAGE])


def _attempts(owner: Tenant) -> Iterator[Attempt]:
    """Yield the attempts by delivery: no index leads from the tenant to them."""
    deliveries: list[uuid.UUID] = []
    for row in _pages(Delivery.objects.filter(tenant_id=owner.pk).only("id")):
        deliveries.append(row.pk)
        if len(deliveries) == _PAGE:
            yield from _pages(Attempt.objects.filter(any_of("delivery_id", deliveries)))
            deliveries = []
    yield from _pages(Attempt.objects.filter(any_of("delivery_id", deliveries)))


def _line(kind: str, row: Row) -> str:
    return escape_surrogates(json.dumps({"kind": kind, **row}, cls=DjangoJSONEncoder, ensure_ascii=False)) + "\n"


# --- the rows -----------------------------------------------------------------------------------------------------------


def _columns(row: Model, *names: str) -> Row:
    return {name: getattr(row, name) for name in names}


def _tenant(row: Tenant) -> Row:
    names = ("uid", "name", "email", "wire_format", "webhooks_enabled", "max_endpoints", "retention_days")
    return _columns(row, *names, "drop_body_when_delivered", "created_at")


def _endpoint(row: Endpoint) -> Row:
    names = ("url", "wire_format", "status", "status_reason", "status_changed_at", "created_at", "deleted_at")
    values = {"id": row.public_id, "type": row.kind, "events": row.patterns}
    decrypted = {
        "headers": _or_none(_header_names, row),
        "authentication": _or_none(_authentication, row),
        "client_tls": _or_none(_client_tls, row),
    }
    return values | _columns(row, *names, *NAMES) | decrypted


def _or_none(shown: Callable[[Endpoint], _Shown], row: Endpoint) -> _Shown | None:
    """Return what may be shown of an encrypted field; None if the encryption key is lost."""
    try:
        return shown(row)
    except SealingError:
        return None


def _header_names(row: Endpoint) -> list[str]:
    """Return the names of the custom headers, whose values may be secrets."""
    return sorted(row.custom_headers())


def _authentication(row: Endpoint) -> Row | None:
    found = row.opened_authentication()
    return dict(found.shown()) if found else None


def _client_tls(row: Endpoint) -> Row | None:
    """Return the descriptions of the certificates, without the private key."""
    return asdict(client_tls_facts(row)) if row.client_tls else None


def _api_key(row: ApiKey) -> Row:
    names = ("name", "hint", "scopes", "created_at", "expires_at", "revoked_at", "last_used_at")
    return {"id": row.public_id, **_columns(row, *names)}


def _portal_link(row: PortalLink) -> Row:
    names = ("actor", "role", "scopes", "created_at", "expires_at", "used_at", "session_ends_at", "revoked_at")
    return {"id": row.pk.hex, **_columns(row, *names)}


def _event(row: Event) -> Row:
    names = ("type", "channels", "subject", "idempotency_key", "callback_url", "is_test", "quarantine_reason")
    times = ("occurred_at", "created_at", "erased_at")
    return {"id": row.public_id, **_columns(row, *names, *times), "data": json.loads(row.shown_data)}


def _delivery(row: Delivery) -> Row:
    names = ("status", "attempts", "last_outcome", "last_status", "created_at", "completed_at")
    event, endpoint = public_id("evt", row.event_id), public_id("wh", row.endpoint_id)
    return {"id": row.public_id, "event": event, "endpoint": endpoint, **_columns(row, *names)}


def _attempt(row: Attempt) -> Row:
    names = (
        "number",
        "started_at",
        "duration_ms",
        "outcome",
        "status",
        "url",
        "response_truncated",
    )
    values = {"id": public_id("att", row.pk), "delivery": public_id("dlv", row.delivery_id), **_columns(row, *names)}
    return values | {"response_headers": row.shown_headers} | _body(row.shown_body)


def _body(body: bytes) -> Row:
    """Return the response body as text, or in base64 if it is not text."""
    try:
        return {"response_body": body.decode()}
    except UnicodeDecodeError:
        return {"response_body_base64": base64.b64encode(body).decode()}


def _hour(row: HourlyStat) -> Row:
    names = ("hour", "succeeded", "redirect", "client_error", "server_error", "timeout", "unreachable", "exhausted")
    return {"endpoint": public_id("wh", row.endpoint_id), **_columns(row, *names)}


def _notification(row: Notification) -> Row:
    values = _columns(row, "count", "reason", "drop_at", "expires_at", "created_at", "sent_at")
    return {"endpoint": public_id("wh", row.endpoint_id), "about": row.kind, **values}


def _audit(row: AuditEntry) -> Row:
    return _columns(row, "at", "actor", "verb", "target", "detail")
