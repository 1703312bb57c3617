"""The audit log: one entry per action, written in the action's own transaction."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from webhooks_app.models import AuditEntry

#: The actor if none is named: the app itself.
SYSTEM = "system"


def record_audit_entry(tenant_id: uuid.UUID, actor: str, verb: str, target: str, **detail: Any) -> None:
    """Write an entry. `detail` is JSON and must hold no secret, no header value and no payload."""
    AuditEntry.objects.create(tenant_id=tenant_id, actor=actor[:255] or SYSTEM, verb=verb, target=target, detail=detail)


def record_audit_entries(tenant_id: uuid.UUID, actor: str, verb: str, targets: Iterable[str]) -> None:
    """Write an entry without details for each of these targets, in one statement."""
    AuditEntry.objects.bulk_create(
        AuditEntry(tenant_id=tenant_id, actor=actor[:255] or SYSTEM, verb=verb, target=target) for target in targets
    )
