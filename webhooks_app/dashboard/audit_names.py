"""Look up the names behind the ids in some entries of the audit log."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from webhooks_app.endpoints.queries import name_of
from webhooks_app.models import ApiKey, AuditEntry, Endpoint, EndpointStatus
from webhooks_app.models.ids import parse_public_id


@dataclass(frozen=True, slots=True)
class Named:
    """The names of the objects in the entries, if they still exist, by public id."""

    #: Names of endpoints as customers know them.
    endpoints: dict[str, str]
    #: Those of the endpoints that have a page.
    visible: frozenset[str]
    #: Names of API keys; a key without a name shows its first characters.
    keys: dict[str, str]


def named_in(entries: Collection[AuditEntry], tenant_id: uuid.UUID) -> Named:
    """Look up the names. Always two queries."""
    targets = [entry.target for entry in entries]
    users = [entry.actor.removeprefix("key:") for entry in entries]
    endpoints = Endpoint.objects.filter(tenant_id=tenant_id, pk__in=_ids("wh", targets))
    keys = ApiKey.objects.filter(tenant_id=tenant_id, pk__in=_ids("key", targets + users))
    return Named(
        endpoints={row.public_id: name_of(row) for row in endpoints},
        visible=frozenset(
            row.public_id for row in endpoints if row.status != EndpointStatus.DELETED and not row.is_callback
        ),
        keys={row.public_id: row.name or f"{row.hint}…" for row in keys},
    )


def _ids(prefix: str, texts: Iterable[str]) -> set[uuid.UUID]:
    ids = (parse_public_id(text, prefix) for text in texts if text.startswith(f"{prefix}_"))
    return {key for key in ids if key is not None}
