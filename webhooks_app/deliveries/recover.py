"""Recover: send an endpoint what it missed since a given time, both failed deliveries and those never created."""

from __future__ import annotations

import json
import math
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
from webhooks_app.locking import CHUNK, EndpointRef, chunks, locked_endpoint
from webhooks_app.models import Delivery, DeliveryStatus, Endpoint, Event, Subscription, database_now
from webhooks_app.models.delivery import of_sendable_events
from webhooks_app.models.ids import first_id
from webhooks_app.tenants.audit import SYSTEM, record_audit_entry
from webhooks_app.tenants.one_at_a_time import one_at_a_time

#: Ids use the clocks of the emitting machines, `created_at` the database's clock: they may differ by this much.
_CLOCK_MARGIN = timedelta(hours=1)
#: Events read at a time: filters need the bodies, which may have up to 256 KiB.
_READ_AT_ONCE = 200


#: After this many seconds a part ends: the number of rows and the cost of filters have no other limit.
_MOST_SECONDS = 10.0
#: Seconds after which a part whose process has died no longer counts.
_FORGOTTEN_AFTER = 120.0
#: The `position` while failed deliveries are left. It is before all ids of events.
_FAILED_ARE_LEFT = uuid.UUID(int=0)


@dataclass(frozen=True, slots=True)
class RecoverReport:
    """`resent`: deliveries that had failed. `created`: new deliveries of events that had none here. `position`: where the next
    part begins; None if nothing is left."""

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
    return _recover(endpoint, since, None, actor, until=math.inf)


def recover_part(
    endpoint: Endpoint, since: datetime, *, after: uuid.UUID | None = None, actor: str = SYSTEM
) -> RecoverReport:
    """Do the same for some seconds, for a request of a customer. If the report has a `position`, call this again with it as
    `after`, because there may be more to do. Also raises ConflictingState while another recovery of the tenant is running."""
    busy = gettext_noop("Another recovery is still running. Wait until it has ended, and try again.")
    with one_at_a_time("recover", endpoint.tenant_id, _FORGOTTEN_AFTER, busy):
        return _recover(endpoint, since, after, actor, until=time.monotonic() + _MOST_SECONDS)


def _recover(
    endpoint: EndpointRef, since: datetime, after: uuid.UUID | None, actor: str, *, until: float
) -> RecoverReport:
    """Recover until this time (monotonic)."""
    with write():
        row, _ = locked_endpoint(endpoint)
        if row.is_callback:
            raise ConflictingState("This endpoint belongs to a callback URL; replay its deliveries one by one.")
        record_audit_entry(row.tenant_id, actor, "endpoint.recovered", row.public_id, since=since.isoformat())
        # Keep a margin to the retention: otherwise `prune` could delete the event of a new delivery.
        now = database_now()
        oldest = now - timedelta(days=settings().RETENTION_DAYS) + _CLOCK_MARGIN
    start = max(since, oldest)
    resent = 0
    if after is None or after == _FAILED_ARE_LEFT:
        resent, are_left = _resend_failed(row, start, until)
        if are_left:
            return RecoverReport(resent, 0, _FAILED_ARE_LEFT)
    if row.created_at <= now:  # otherwise the clock was set back since; see `wants`
        start = max(start, row.created_at)
    created, position = _make_missing(row, start, after, until)
    return RecoverReport(resent, created, position)


def _resend_failed(row: Endpoint, since: datetime, until: float) -> tuple[int, bool]:
    """Return how many deliveries are resent, and whether there may be more."""
    failed = Delivery.objects.filter(endpoint_id=row.pk, status=DeliveryStatus.EXHAUSTED, completed_at__gte=since)
    resent = 0
    for keys in chunks(failed.filter(of_sendable_events()), CHUNK):
        resent += in_fresh_transaction(partial(bulk_updates.requeue, keys))
        if len(keys) == CHUNK and time.monotonic() >= until:
            return resent, True
    return resent, False


def _make_missing(
    row: Endpoint, since: datetime, after: uuid.UUID | None, until: float
) -> tuple[int, uuid.UUID | None]:
    """Return how many deliveries were created, and the last event examined if there may be more."""
    # Without the endpoint's age: the events are from `since` on.
    patterns = set(Subscription.objects.filter(endpoint_id=row.pk).values_list("pattern", flat=True))
    target = Target(row.pk, row.tenant_id, row.wire_format, row.channels, None, bool(row.filters), patterns)
    made, position = 0, None
    wanted: list[uuid.UUID] = []
    for event in _each(_unmade(row, since), after):
        if wants(target, event, _filters_of(row, event)):
            wanted.append(event.pk)
        if len(wanted) == CHUNK:
            made += in_fresh_transaction(partial(bulk_updates.create_deliveries, row, wanted))
            wanted = []
        if time.monotonic() >= until:  # after each event: a filter of a large one may take a tenth of a second
            position = event.pk
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


def _each(events: QuerySet[Event], after: uuid.UUID | None) -> Iterator[Event]:
    """Yield the events by id. Of their long columns only `data` is read, which filters need."""
    ordered = events.only("id", "type", "channels", "created_at", "data").order_by("pk")
    page = list((ordered if after is None else ordered.filter(pk__gt=after))[:_READ_AT_ONCE])
    while page:
        yield from page
        page = list(ordered.filter(pk__gt=page[-1].pk)[:_READ_AT_ONCE])


def _filters_of(row: Endpoint, event: Event) -> Callable[[], bool] | None:
    if not row.filters:
        return None
    return lambda: passes_or_costs_too_much(row.filters, json.loads(event.data), ComparisonBudget())
