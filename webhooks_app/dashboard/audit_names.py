"""What is behind the ids in a stretch of the audit trail."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from webhooks_app.endpoints.queries import name_of
from webhooks_app.models import ApiKey, AuditEntry, Endpoint, EndpointStatus
from webhooks_app.models.ids import parse_public_id


@dataclass(frozen=True, slots=True)
class Named:
    """What entries tell of, as far as it is still there; by public id."""

    #: What customers know endpoints by.
    endpoints: dict[str, str]
    #: Those of the endpoints that can be looked at.
    visible: frozenset[str]
    #: The names of API keys; a key without one has its first characters.
    keys: dict[str, str]


def named_in(entries: Collection[AuditEntry], tenant_id: uuid.UUID) -> Named:
    """In two queries, however many entries."""
    targets = [entry.target for entry in entries]
    users = [entry.actor.removeprefix("key:") for entry in entries]
    endpoints = Endpoint.objects.filter(tenant_id=tenant_id, pk__in=_ids("wh", targets))
    keys = ApiKey.objects.filter(tenant_id=tenant_id, pk__in=_ids("key", targets + users))
    return Named(
        endpoints={row.public_id: name_of(row) for row in endpoints},
        visible=frozenset(
            row.public_id for row in endpoints if row.status != EndpointStatus.DELETED and not row.hidden
        ),
        keys={row.public_id: row.name or f"{row.hint}…" for row in keys},
    )


def _ids(prefix: str, texts: Iterable[str]) -> set[uuid.UUID]:
    ids = (parse_public_id(text, prefix) for text in texts if text.startswith(f"{prefix}_"))
    return {key for key in ids if key is not None}
