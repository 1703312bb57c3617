"""Store the responses of requests with an Idempotency-Key, so that repeating a request has no effect."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from webhooks_app.db import in_one_transaction
from webhooks_app.exceptions import IdempotencyConflict, IdempotencyInProgress
from webhooks_app.models import IdempotencyRecord, Tenant, database_now

#: A response is kept for this long …
KEPT = timedelta(hours=24)
#: … and a request without a response for this long counts as failed, and may be repeated.
_ABANDONED = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Answered:
    """The stored response of the first request."""

    status: int
    body: Any = field(repr=False)


@in_one_transaction
def start(tenant: Tenant, key: str, fingerprint: str) -> IdempotencyRecord | Answered:
    """Start a request. Return its new record, or the stored response of an earlier request with this key.

    Raises IdempotencyConflict where the key was used for another request, IdempotencyInProgress where that one is still
    at work.
    """
    now = database_now()
    replies = IdempotencyRecord.objects.filter(tenant_id=tenant.pk, key=key)
    replies.filter(created_at__lt=now - KEPT).delete()
    replies.filter(status__isnull=True, created_at__lt=now - _ABANDONED).delete()
    mine = IdempotencyRecord(tenant_id=tenant.pk, key=key, fingerprint=fingerprint)
    IdempotencyRecord.objects.bulk_create([mine], ignore_conflicts=True)
    first = replies.get()
    if first.pk == mine.pk:
        return mine
    if first.fingerprint != fingerprint:
        raise IdempotencyConflict("This Idempotency-Key was used before, for another request.", field="Idempotency-Key")
    if first.status is None:
        raise IdempotencyInProgress()
    return Answered(first.status, json.loads(first.body))


def complete(reply: IdempotencyRecord, status: int, body: Any) -> None:
    """Store the response. `body` is JSON without values that are shown only once."""
    rows = IdempotencyRecord.objects.filter(pk=reply.pk)
    rows.update(status=status, body=json.dumps(body))


def discard(reply: IdempotencyRecord) -> None:
    """Remove the record of a failed request, so that it can be repeated with its key."""
    IdempotencyRecord.objects.filter(pk=reply.pk).delete()
