"""Recover: send an endpoint what it missed since a given time, both failed deliveries and those never created."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from django.db.models import Exists, OuterRef, QuerySet

from webhooks_app.conf import settings
from webhooks_app.core.comparisons import ComparisonBudget
from webhooks_app.core.filters import passes_or_costs_too_much, wants
from webhooks_app.db import in_fresh_transaction, write
from webhooks_app.deliveries import bulk_updates
from webhooks_app.engine.matching import Target
from webhooks_app.exceptions import ConflictingState, gettext_noop
from webhooks_app.locking import CHUNK, EndpointRef, in_chunks, locked_endpoint
from webhooks_app.models import Delivery, DeliveryStatus, Endpoint, Event, Subscription, database_now
from webhooks_app.models.delivery import of_sendable_events
from webhooks_app.models.ids import first_id
from webhooks_app.tenants.audit import SYSTEM, record_audit_entry
from webhooks_app.tenants.one_at_a_time import one_at_a_time

#: Ids use the clocks of the emitting machines, `created_at` the database's clock: they may differ by this much.
_CLOCK_MARGIN = timedelta(hours=1)
#: Events read at a time: filters need the bodies, which may have up to 256 KiB.
_READ_AT_ONCE = 200


#: After this many seconds a part stops examining events: their number and the cost of their filters have no other limit.
_MOST_SECONDS = 10.0
#: Seconds after which a part whose process has died no longer counts.
_FORGOTTEN_AFTER = 120.0


@dataclass(frozen=True, slots=True)
class RecoverReport:
    """`resent`: deliveries that had failed. `created`: new deliveries of events that had none here. `position`: the last event
    that was examined; None if all were."""

    resent: int
    created: int
    position: uuid.UUID | None = None


def recover(endpoint: EndpointRef, since: datetime, *, actor: str = SYSTEM) -> RecoverReport:
    """Resend deliveries that failed since then, and deliver events that this endpoint never got.

    Events for which no delivery was created, such as those emitted while it was disabled, are delivered if they match its
    subscriptions, channels and filters. `since` is aware; nothing older than the endpoint or the retention is recovered.
    Works in chunks with their own transactions, so after an error a repeated call continues. While the endpoint is paused or
    disabled, the deliveries stay pending. Raises ConflictingState for a deleted endpoint, or one behind a callback URL.
    """
    report = _recover(endpoint, since, None, actor)
    while report.position is not None:
        part = _recover(endpoint, since, report.position, actor)
        report = RecoverReport(report.resent, report.created + part.created, part.position)
    return report


def recover_part(
    endpoint: Endpoint, since: datetime, *, after: uuid.UUID | None = None, actor: str = SYSTEM
) -> RecoverReport:
    """Do the same for some seconds, in a request of a customer's. If the report has a `position`, there may be more to do: call
    this again with it as `after`. Raises ConflictingState while another recovery of the tenant's is running, too."""
    busy = gettext_noop("Another recovery of yours is still running. Start the next one after that.")
    with one_at_a_time("recover", endpoint.tenant_id, _FORGOTTEN_AFTER, busy):
        return _recover(endpoint, since, after, actor)


def _recover(endpoint: EndpointRef, since: datetime, after: uuid.UUID | None, actor: str) -> RecoverReport:
    with write():
        row, _ = locked_endpoint(endpoint)
        if row.is_callback:
            raise ConflictingState("This endpoint belongs to a callback URL; replay its deliveries one by one.")
        if after is None:
            record_audit_entry(row.tenant_id, actor, "endpoint.recovered", row.public_id, since=since.isoformat())
        # Keep a margin to the retention: otherwise `prune` could delete the event of a new delivery.
        oldest = database_now() - timedelta(days=settings().RETENTION_DAYS) + _CLOCK_MARGIN
    start = max(since, oldest)
    resent = _resend_failed(row, start) if after is None else 0
    created, position = _make_missing(row, max(start, row.created_at), after)
    return RecoverReport(resent, created, position)


def _resend_failed(row: Endpoint, since: datetime) -> int:
    failed = Delivery.objects.filter(endpoint_id=row.pk, status=DeliveryStatus.EXHAUSTED, completed_at__gte=since)
    failed = failed.filter(of_sendable_events())
    return in_chunks(bulk_updates.requeue, failed)


def _make_missing(row: Endpoint, since: datetime, after: uuid.UUID | None) -> tuple[int, uuid.UUID | None]:
    """Return how many deliveries were created, and the last event examined if there may be more."""
    until = time.monotonic() + _MOST_SECONDS
    patterns = set(Subscription.objects.filter(endpoint_id=row.pk).values_list("pattern", flat=True))
    target = Target(row.pk, row.tenant_id, row.wire_format, row.channels, row.created_at, bool(row.filters), patterns)
    made, position = 0, None
    wanted: list[uuid.UUID] = []
    for page in _pages(_unmade(row, since), after):
        wanted += [event.pk for event in page if wants(target, event, _filters_of(row, event))]
        if len(wanted) >= CHUNK - _READ_AT_ONCE:
            made += in_fresh_transaction(partial(bulk_updates.create_deliveries, row, wanted))
            wanted = []
        if time.monotonic() >= until and len(page) == _READ_AT_ONCE:
            position = page[-1].pk
            break
    if wanted:
        made += in_fresh_transaction(partial(bulk_updates.create_deliveries, row, wanted))
    return made, position


def _unmade(row: Endpoint, since: datetime) -> QuerySet[Event]:
    """Return the tenant's real events of that time that were fanned out, but not to this endpoint, and are not erased.

    Events that were not fanned out yet will still be delivered.
    """
    there = Delivery.objects.filter(event_id=OuterRef("pk"), endpoint_id=row.pk)
    events = Event.objects.filter(
        tenant_id=row.tenant_id,
        id__gte=first_id(since - _CLOCK_MARGIN),
        created_at__gte=since,
        fanned_out_at__isnull=False,
        erased_at__isnull=True,
        quarantine_reason="",
        callback_url="",
    )
    return events.without_tests().exclude(Exists(there))


def _pages(events: QuerySet[Event], after: uuid.UUID | None) -> Iterator[list[Event]]:
    """Yield the events by id, a few at a time. Of their long columns only `data` is read, which filters need."""
    ordered = events.only("id", "type", "channels", "created_at", "data").order_by("pk")
    page = list((ordered if after is None else ordered.filter(pk__gt=after))[:_READ_AT_ONCE])
    while page:
        yield page
        page = list(ordered.filter(pk__gt=page[-1].pk)[:_READ_AT_ONCE])


def _filters_of(row: Endpoint, event: Event) -> Callable[[], bool] | None:
    if not row.filters:
        return None
    return lambda: passes_or_costs_too_much(row.filters, json.loads(event.data), ComparisonBudget())
