"""Emit: insert one Event row in the caller's own transaction. The row is authoritative; the hint to workers may be lost."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from asgiref.sync import sync_to_async
from django.db import Error as DatabaseError
from django.db import transaction
from django.utils import timezone

from webhooks_app import signals, telemetry
from webhooks_app.conf import strict as is_strict
from webhooks_app.core.catalogue import EventType
from webhooks_app.events import payload, worker_hint
from webhooks_app.events.backlog_limits import check_backlog
from webhooks_app.events.callback_hosts import check_callback_host
from webhooks_app.exceptions import IdempotencyConflict, WebhooksError
from webhooks_app.models import Event
from webhooks_app.models.database import database_alias
from webhooks_app.tenants.identify import TenantLike

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventInput:
    """One event for `emit_many`; the fields are the arguments of `emit`."""

    type: str
    data: Any = field(repr=False)
    tenant: TenantLike
    channels: Sequence[str] = ()
    subject: str = ""
    idempotency_key: str | None = None
    callback_url: str = ""
    occurred_at: datetime | None = None


def emit(
    type: str,  # noqa: A002 - the field's word
    data: Any,
    *,
    tenant: TenantLike,
    channels: Sequence[str] = (),
    subject: str = "",
    idempotency_key: str | None = None,
    callback_url: str = "",
    occurred_at: datetime | None = None,
    using: str | None = None,
) -> Event:
    """Emit an event. It is sent if, and only if, the transaction around this call commits.

    `type`: an event type of the catalogue. `data`: anything that Django can serialise to JSON, at most MAX_PAYLOAD_BYTES.
    `tenant`: a Tenant, a uid or any of your objects. `channels`: names by which endpoints can filter events. `subject`: your
    own id, for finding the event. `idempotency_key`: repeating the same key and content returns the first event.
    `callback_url`: sends this event there instead of to the tenant's endpoints. `occurred_at`: aware; default now. `using`:
    database alias.

    Returns the Event. An invalid event raises a subclass of `InvalidEvent` or `URLNotAllowed` if STRICT (default: DEBUG);
    otherwise the event is stored quarantined and logged as an error, and the host's transaction continues. Raises
    BacklogFull, whatever STRICT says, if too many events are pending and BACKLOG["POLICY"] is "refuse".
    """
    event = EventInput(
        type=type,
        data=data,
        tenant=tenant,
        channels=channels,
        subject=subject,
        idempotency_key=idempotency_key,
        callback_url=callback_url,
        occurred_at=occurred_at,
    )
    return emit_many([event], using=using)[0]


#: `emit` for async code.
aemit = sync_to_async(emit)


def emit_many(
    events: Iterable[EventInput], *, using: str | None = None, strict: bool | None = None, limited: bool = True
) -> list[Event]:
    """Emit many events in one INSERT; return them in the order of the input.

    `strict`: overrides STRICT. `limited`: whether the limits on pending events apply; False for events that the app emits
    itself. Types that staff added in the admin and that no code declares cost one SELECT in total.
    """
    alias = using or database_alias()
    inputs = list(events)
    added = payload.added_types([item.type for item in inputs], alias)
    raises = is_strict() if strict is None else strict
    made = [_event(item, added, alias, strict=raises) for item in inputs]
    if limited:
        check_backlog(made, alias)
    keyed = any(event.idempotency_key is not None for event in made)
    # A conflict on one key must leave none of the other events behind. A single event needs no savepoint for that.
    with transaction.atomic(using=alias) if keyed and len(made) > 1 else nullcontext():
        stored = _insert(made, alias, strict=raises)
    for event in stored:
        if event.quarantine_reason:
            _tell_quarantined(event, alias)
    if any(not event.quarantine_reason for event in made):
        _after_commit(worker_hint.send_hint, alias)
    return stored


def _after_commit(act: Callable[[], None], alias: str) -> None:
    """Call `act` when the host's transaction commits.

    Django has no commit hooks if the host commits manually (`transaction.set_autocommit(False)`). The call is then omitted:
    `sweep` finds the event, and a quarantined event is in the log.
    """
    connection = transaction.get_connection(alias)
    if connection.in_atomic_block or connection.get_autocommit():
        transaction.on_commit(act, using=alias, robust=True)


def _event(item: EventInput, added: Mapping[str, EventType], alias: str, *, strict: bool) -> Event:
    """Return the row for one input. Raises if strict; otherwise an invalid input becomes a quarantined row."""
    event = payload.blank_event(item)
    try:
        payload.fill(event, item, added)
        if event.callback_url:
            check_callback_host(event.tenant_id, event.callback_url, alias)
    except Exception as error:  # whatever is wrong with an event, in production the host's request must continue
        if strict or isinstance(error, DatabaseError):
            raise
        logger.error("webhooks: event %s of type %r was quarantined: %s", event.public_id, item.type, error)
        telemetry.count("events_quarantined")
        reason = str(error) if isinstance(error, WebhooksError) else repr(error)
        payload.quarantine(event, item, reason, timezone.now())
    event.fingerprint = _fingerprint(event)
    return event


def _fingerprint(event: Event) -> str:
    """Return a fingerprint that decides whether two events with one idempotency key are the same."""
    if event.idempotency_key is None:
        return ""
    parts = (event.type, event.data, event.subject, event.callback_url, *event.channels)
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _insert(events: list[Event], alias: str, *, strict: bool) -> list[Event]:
    """Insert plain events in one INSERT, and those with idempotency keys in another, which must not abort the transaction."""
    keyed = [event for event in events if event.idempotency_key is not None]
    plain = [event for event in events if event.idempotency_key is None]
    if plain:
        Event.objects.using(alias).bulk_create(plain, batch_size=500)
    if not keyed:
        return events
    Event.objects.using(alias).bulk_create(keyed, batch_size=500, ignore_conflicts=True)
    return [
        event if event.idempotency_key is None else _first_of_its_key(event, alias, strict=strict) for event in events
    ]


def _first_of_its_key(event: Event, alias: str, *, strict: bool) -> Event:
    """Return the event that owns the key: this one, or an earlier one with the same content."""
    same_key = Event.objects.using(alias).filter(tenant_id=event.tenant_id, idempotency_key=event.idempotency_key)
    # A transaction at REPEATABLE READ may not see the conflicting row, but it does see that there was a conflict.
    first = same_key.first()
    if first is not None and first.quarantine_reason and not event.quarantine_reason:
        # The input has been corrected: the key belongs to the event that can be delivered.
        same_key.exclude(quarantine_reason="").update(idempotency_key=None)
        Event.objects.using(alias).bulk_create([event], ignore_conflicts=True)
        first = same_key.first()
    if first is None or first.fingerprint != event.fingerprint:
        message = f"The idempotency key {event.idempotency_key!r} was used before, for an event with other content."
        if strict:
            raise IdempotencyConflict(message, field="idempotency_key")
        logger.error("webhooks: %s The first event stands.", message)
    return first or event


def _tell_quarantined(event: Event, alias: str) -> None:
    """Log it after the commit. A function and not a `partial`, whose missing name would break Django's error log."""

    def tell() -> None:
        signals.event_quarantined.send_robust(
            sender=Event, event_id=event.id, tenant_id=event.tenant_id, reason=event.quarantine_reason
        )

    _after_commit(tell, alias)
