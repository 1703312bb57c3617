"""Release quarantined events once the cause is fixed: they become pending, and the next fan-out delivers them.

Only events that the engine quarantined can be released. Events that `emit` refused were not stored completely and have to be
emitted again.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.db import transaction

from webhooks_app.db import in_fresh_transaction
from webhooks_app.events import worker_hint
from webhooks_app.events.erased import refuse_erased
from webhooks_app.exceptions import ConflictingState, gettext_noop
from webhooks_app.locking import in_chunks, key_of
from webhooks_app.models import Event, Tenant
from webhooks_app.models.database import database_alias
from webhooks_app.models.event import EventQuerySet
from webhooks_app.models.lookups import any_of, for_change
from webhooks_app.tenants.audit import SYSTEM, record_audit_entry
from webhooks_app.tenants.identify import tenant_uid


def release_quarantined(event: Event | uuid.UUID, *, actor: str = SYSTEM) -> bool:
    """Make a quarantined event pending again; return False if it is not quarantined (any more).

    For a FIFO endpoint it goes to the end of the order. Raises ConflictingState if `emit` had refused the event,
    or it is erased.
    """

    def work() -> bool:
        row = for_change(Event.objects.defer("data")).get(pk=key_of(event))
        if not row.quarantine_reason:
            return False
        refuse_erased(row)
        if not row.is_releasable:
            raise ConflictingState(
                gettext_noop(
                    "This event was not accepted when it was emitted, and was not stored whole. Emit it again."
                )
            )
        _make_pending([row.pk])
        record_audit_entry(row.tenant_id, actor, "event.released", row.public_id)
        return True

    return in_fresh_transaction(work)


def release_all_quarantined(
    *,
    events: Collection[uuid.UUID] | None = None,
    tenant: Any = None,
    since: datetime | None = None,
    actor: str = SYSTEM,
) -> int:
    """Make the quarantined events that match all arguments pending again; without arguments, all. Return how many.

    `tenant`: a Tenant, a uid or any of your objects. `since`: aware; the earliest time of the quarantine. Events that `emit`
    refused stay unchanged. Works in chunks with their own transactions, so after an error a repeated call continues.
    """
    rows = quarantined(events=events, tenant=tenant, since=since).releasable()
    return in_chunks(lambda ids: _release(ids, actor), rows)


def quarantined(
    *, events: Collection[uuid.UUID] | None = None, tenant: Any = None, since: datetime | None = None
) -> EventQuerySet:
    """Return the quarantined events that match all arguments; see `release_all_quarantined`."""
    rows: Any = Event.objects.quarantined()
    if events is not None:
        rows = rows.filter(any_of("id", events))
    if tenant is not None:
        rows = rows.filter(tenant_id=Tenant.id_for(tenant_uid(tenant)))
    if since is not None:
        rows = rows.filter(fanned_out_at__gte=since)
    found: EventQuerySet = rows
    return found


def _release(ids: Collection[uuid.UUID], actor: str) -> int:
    """Lock the rows first: a concurrent release must not count them too."""
    rows = for_change(Event.objects.releasable().filter(any_of("id", ids)).order_by("id"))
    tenants = dict(rows.values_list("id", "tenant_id"))
    _make_pending(tenants)
    for tenant_id, count in Counter(tenants.values()).items():
        record_audit_entry(tenant_id, actor, "events.released", "", count=count)
    return len(tenants)


def _make_pending(ids: Collection[uuid.UUID]) -> None:
    """Make the events pending. A large event that was quarantined in the middle of its fan-out continues there."""
    Event.objects.filter(any_of("id", ids)).update(fanned_out_at=None, quarantine_reason="")
    if ids:
        transaction.on_commit(worker_hint.send_hint, using=database_alias(), robust=True)
