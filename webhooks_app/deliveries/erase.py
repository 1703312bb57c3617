"""Erase the personal data of events: the payload, the responses to it, and everything that an event is searched by.

The rows stay, so that the history and the statistics still add up. Pending deliveries are cancelled: nothing is sent without
its payload. An erased event is never sent again.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from django.db import OperationalError, connections
from django.db.models import Case, Exists, OuterRef, Q, Value, When
from django.db.models.functions import Coalesce

from webhooks_app.core.endpoint_kind import EndpointKind
from webhooks_app.database_errors import is_transient
from webhooks_app.db import in_fresh_transaction
from webhooks_app.deliveries import bulk_updates
from webhooks_app.engine.callback_urls import callback_endpoint_id
from webhooks_app.events.payload import MAX_TEXT
from webhooks_app.exceptions import ConflictingState, gettext_noop
from webhooks_app.locking import chunks, key_of
from webhooks_app.models import (
    Attempt,
    Delivery,
    DeliveryStatus,
    Endpoint,
    Event,
    EventChannel,
    IdempotencyRecord,
    Tenant,
    database_now,
)
from webhooks_app.models.database import database_alias
from webhooks_app.models.event import REASON_ERASED
from webhooks_app.models.ids import public_id
from webhooks_app.models.lookups import any_of, for_change
from webhooks_app.tenants.audit import SYSTEM, record_audit_entries
from webhooks_app.tenants.identify import TenantLike, storable, tenant_for

#: Events per transaction, which locks the queues of their endpoints.
CHUNK = 50
#: The longest wait for a lock (seconds): meanwhile the transaction holds locks that engines need.
_LOCK_TIMEOUT = 0.1
#: The pauses (seconds) before another try, if rows are locked.
_PAUSES = (0.1, 0.5, 1.0)
#: Deliveries whose attempts one statement changes, and stored replies that are read at once.
_DELIVERIES, _REPLIES = 500, 20
#: What an erased event holds in place of its payload.
NO_DATA = "null"
_EVENT_ID = re.compile(r"evt_[0-9a-f]{32}")
_BUSY = gettext_noop("Some of the events are locked at the moment. Erase them again; what was erased stays erased.")


@dataclass(frozen=True, slots=True)
class ErasureReport:
    """`events`: how many events were erased by this call. `more`: there may be more, beyond the limit of the call."""

    events: int
    more: bool = False


def erase_event(event: Event | uuid.UUID, *, actor: str = SYSTEM) -> Event:
    """Erase one event: payload, subject, channels, idempotency key, callback URL, and the responses of its receivers.

    The row, its deliveries and attempts stay. Pending deliveries are cancelled; a request in flight may still arrive, and its
    response is not stored. The event cannot be sent again. Repeating the call changes nothing. Raises Event.DoesNotExist, and
    ConflictingState if another transaction has locked it.
    """
    row = Event.objects.defer("data").get(pk=key_of(event))
    erase_events(row.tenant_id, [row.pk], actor=actor)
    row.refresh_from_db()
    return row


def erase_subject(tenant: TenantLike, subject: str, *, most: int | None = None, actor: str = SYSTEM) -> ErasureReport:
    """Erase the tenant's events with this subject, as `erase_event` does.

    `most`: the largest number of events that this call erases; None: no limit. Works in chunks with their own transactions, so
    after an error a repeated call continues. Raises ValueError for an empty subject, and ConflictingState if other transactions
    have locked some of the events.
    """
    if not subject:
        raise ValueError("The subject is empty. Name one: events without a subject cannot be erased together.")
    if not storable(subject, MAX_TEXT):
        return ErasureReport(0)  # no event can have it
    owner = tenant_for(tenant)
    found = Event.objects.filter(tenant_id=owner.pk, subject=subject).values_list("pk", flat=True)
    keys = sorted(found if most is None else found[: most + 1])
    return ErasureReport(erase_events(owner.pk, keys[:most], actor=actor), most is not None and len(keys) > most)


def erase_events(
    tenant_id: uuid.UUID, keys: Iterable[uuid.UUID], *, actor: str | None = None, whole_tenant: bool = False
) -> int:
    """Erase these events of one tenant; return how many there were. Uses its own transactions.

    `actor`: None writes no audit entries. `whole_tenant`: also erase where the requests went; the stored replies of the REST API
    are left to the caller. Raises ConflictingState, after all others were erased, if some stay locked.
    """
    erased: set[str] = set()
    count = 0

    def erase(ids: Sequence[uuid.UUID]) -> bool:
        nonlocal count
        # Most of them, before anything is locked.
        in_fresh_transaction(partial(blank_attempts, ids, all_urls=whole_tenant))
        done = unless_locked(partial(_erase_chunk, tenant_id, ids, actor, all_urls=whole_tenant))
        count += done or 0
        if not whole_tenant and done is not None:
            erased.update(public_id("evt", key) for key in ids)
        return done is not None

    busy = [ids for ids in _parts(keys) if not erase(ids)]
    for pause in _PAUSES:
        if busy:
            time.sleep(pause)
            busy = [ids for ids in busy if not erase(ids)]
    if erased:
        _delete_replies(tenant_id, erased)
    if busy:
        raise ConflictingState(_BUSY)
    return count


def unless_locked(work: partial[int]) -> int | None:
    """Return what `work` returns, run in a transaction of its own; None if another transaction has locked a row of it.

    Inside a transaction of the caller it waits for locks as the caller's own statements do.
    """
    nested = connections[database_alias()].in_atomic_block
    try:
        return in_fresh_transaction(work, lock_timeout=None if nested else _LOCK_TIMEOUT)
    except OperationalError as error:
        if nested or not is_transient(error):
            raise
        return None


#: The deliveries that need the payload: it will be sent, or they have failed and may be resent.
NEEDS_PAYLOAD = Q(status__in=(DeliveryStatus.PENDING, DeliveryStatus.EXHAUSTED))


def drop_payloads(ids: Collection[uuid.UUID]) -> int:
    """Erase payload and responses of those of the events that have no delivery in NEEDS_PAYLOAD; return how many these were.

    Needs a transaction. What the events are searched by stays. Locked events are left out.
    """
    events = Event.objects.filter(any_of("id", ids), fanned_out_at__isnull=False)
    free = list(for_change(events.order_by("id"), skip_locked=True).values_list("id", flat=True))
    needed = Delivery.objects.filter(NEEDS_PAYLOAD, any_of("event_id", free))
    done = set(free).difference(needed.values_list("event_id", flat=True))
    blank_attempts(done)
    rows = Event.objects.filter(any_of("id", done))
    return rows.update(data=NO_DATA, erased_at=Coalesce("erased_at", database_now()), drop_body=False)


def blank_attempts(event_ids: Collection[uuid.UUID], *, all_urls: bool = False) -> None:
    """Erase what receivers responded to these events, and the callback URLs. Times and outcomes stay.

    `all_urls`: erase the URLs of other endpoints, too.
    """
    deliveries = Delivery.objects.filter(any_of("event_id", event_ids))
    keys = list(deliveries.values_list("pk", flat=True))
    hidden = Endpoint.objects.filter(pk=OuterRef("endpoint_id"), kind=EndpointKind.CALLBACK)
    has_content = ~Q(response_headers="") | ~Q(response_body=b"") | ~Q(detail="")
    for start in range(0, len(keys), _DELIVERIES):
        attempts = Attempt.objects.filter(any_of("delivery_id", keys[start : start + _DELIVERIES]))
        attempts.filter(has_content).update(response_headers="", response_body=b"", detail="")
        (attempts if all_urls else attempts.filter(Exists(hidden))).exclude(url="").update(url="", address="")


def _erase_chunk(tenant_id: uuid.UUID, ids: Sequence[uuid.UUID], actor: str | None, *, all_urls: bool) -> int:
    """Erase these events of one tenant; return how many there were. Locks events, then queues, then deliveries.

    Those with nothing left to erase get no audit entry.
    """
    rows = for_change(Event.objects.filter(any_of("id", ids)).order_by("id"))
    events = list(rows.defer("data"))
    targets = [event.public_id for event in events if event.is_erasable]
    urls = {
        callback_endpoint_id(tenant_id, event.callback_url): event.callback_url
        for event in events
        if event.callback_url
    }
    bulk_updates.cancel_locked(bulk_updates.lock_pending_of(ids, urls))
    now = database_now()
    Event.objects.filter(any_of("id", ids)).update(
        data=NO_DATA,
        channels=[],
        subject="",
        idempotency_key=None,
        fingerprint="",
        callback_url="",
        fanned_out_at=Coalesce("fanned_out_at", now),
        fan_out_position=None,
        quarantine_reason=Case(When(quarantine_reason="", then=Value("")), default=Value(REASON_ERASED)),
        erased_at=Coalesce("erased_at", now),
        drop_body=False,
    )
    EventChannel.objects.filter(any_of("event_id", ids)).delete()
    blank_attempts(ids, all_urls=all_urls)
    _blank_callback_urls(tenant_id, urls)
    if actor is not None:
        record_audit_entries(tenant_id, actor, "event.erased", targets)
    return len(events)


def _blank_callback_urls(tenant_id: uuid.UUID, urls: Mapping[uuid.UUID, str]) -> None:
    """Erase the URLs of endpoints behind callback URLs which no event names any more. Their queues are locked."""
    named = Exists(Event.objects.filter(pk=OuterRef("event_id")).exclude(callback_url=""))
    for key, url in sorted(urls.items()):
        if Event.objects.pending().filter(tenant_id=tenant_id, callback_url=url).exists():
            continue
        if not Delivery.objects.filter(named, endpoint_id=key).exists():
            Endpoint.objects.filter(pk=key, kind=EndpointKind.CALLBACK).update(url="")


def _delete_replies(tenant_id: uuid.UUID, erased: set[str]) -> None:
    """Delete the stored replies that show one of these events. They are those of the last 24 hours."""
    replies: Any = IdempotencyRecord.objects.filter(tenant_id=tenant_id)
    for keys in chunks(replies, size=_REPLIES):
        bodies = replies.filter(any_of("id", keys)).values_list("id", "body")
        showing = [key for key, body in bodies if not erased.isdisjoint(_EVENT_ID.findall(body))]
        replies.filter(any_of("id", showing)).delete()


def _parts(keys: Iterable[uuid.UUID]) -> Iterator[list[uuid.UUID]]:
    left = iter(keys)
    while part := list(islice(left, CHUNK)):
        yield part


def erase_all_events(tenant: Tenant) -> int:
    """Erase every event that the tenant has now, without audit entries and stored replies; return how many there were."""
    rows = Event.objects.filter(tenant_id=tenant.pk)
    keys = (key for page in chunks(rows) for key in page)
    return erase_events(tenant.pk, keys, whole_tenant=True)
