"""The rows that a fan-out writes: deliveries, FIFO sequence numbers, channels, and tenants that `emit` named first.

A plan says which endpoints get which events. It is computed before the transaction that locks the events, since filters
take time. Events that have changed by then are left out.
"""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from django.db.models import F

from webhooks_app.database_errors import is_lock_timeout, is_outage, is_transient
from webhooks_app.db import in_fresh_transaction, read
from webhooks_app.engine.callback_urls import callback_targets, keep_callbacks
from webhooks_app.engine.matching import Target, match
from webhooks_app.engine.numbering import fifo_of, not_fully_numbered
from webhooks_app.engine.pending_events import claim, claim_tenant, is_pending
from webhooks_app.engine.queue_due import make_unlocked_queues_due
from webhooks_app.engine.sql import store_for
from webhooks_app.engine.sql.types import NewDelivery
from webhooks_app.engine.types import FannedOut, PendingEvent
from webhooks_app.models import EndpointQueue, Event, EventChannel, Tenant
from webhooks_app.models.ids import new_id
from webhooks_app.models.lookups import any_of
from webhooks_app.wire_formats import known_retry_policy_of

Wanted = list[tuple[PendingEvent, list[Target]]]


class RowsBusy(Exception):
    """Another transaction has locked a row that a FIFO order needs."""


@dataclass(slots=True)
class DeliveryPlan:
    """The endpoints that get each event, in the order of the events. Events for which there was no room are left out."""

    wanted: Wanted
    #: Not None: the (only) event has more endpoints after this one.
    position: uuid.UUID | None = None

    @property
    def events(self) -> list[PendingEvent]:
        return [event for event, _ in self.wanted]


def plan_deliveries(events: Sequence[PendingEvent], using: str, lock_timeout: float, deliveries: int) -> DeliveryPlan:
    """Return the endpoints that get these events, up to `deliveries` deliveries. The events are in order; an event with a
    fan-out position must be the only one. Needs no transaction; missing endpoints behind callback URLs are created
    in one."""
    limits = store_for(using).limits
    callbacks: dict[uuid.UUID, Target] = {}
    if any(event.callback_url for event in events):
        callbacks = in_fresh_transaction(lambda: callback_targets(events, using), using, lock_timeout=lock_timeout)
    wanted: Wanted = [(event, [callbacks[event.id]]) for event in events if event.id in callbacks]
    plain = [event for event in events if event.id not in callbacks]
    position = None
    if plain:
        matches = match(plain, using, subscriptions=limits.subscriptions, deliveries=deliveries)
        wanted += matches.events
        position = matches.position
    if position is not None:
        # An event that is fanned out in parts has a transaction of its own.
        return DeliveryPlan(matches.events, position)
    wanted.sort(key=lambda pair: pair[0].id)
    return DeliveryPlan(_leading(wanted, deliveries))


def _leading(wanted: Wanted, deliveries: int) -> Wanted:
    """Return the leading events whose deliveries fit into one transaction; always at least the first."""
    for number, (_, targets) in enumerate(wanted):
        deliveries -= len(targets)
        if deliveries < 0 and number > 0:
            return wanted[:number]
    return wanted


def write_deliveries(plan: DeliveryPlan, now: datetime, using: str, *, in_order: bool) -> FannedOut:
    """Write the deliveries of a plan, inside the caller's transaction. Never waits for a row lock.

    `in_order`: the events belong to one tenant with FIFO endpoints, and only one worker at a time may process them. Raises
    RowsBusy if another worker has them, or if the row of a queue that assigns the FIFO sequence numbers is locked.
    """
    if in_order and not claim_tenant(plan.events[0].tenant_id, using):
        raise RowsBusy
    claimed = claim(plan.events, using)
    if in_order and is_pending([event for event in plan.events if event.id not in claimed], using):
        raise RowsBusy  # later events must not overtake it
    fitting = [(event, targets) for event, targets in plan.wanted if event.id in claimed]
    if not fitting:
        return FannedOut()
    events = [event for event, _ in fitting]
    pairs = [(event, target) for event, targets in fitting for target in targets]
    endpoint_ids = sorted({target.endpoint_id for _, target in pairs})
    keep_callbacks(events, endpoint_ids, using)
    places = _assign_sequences(pairs, endpoint_ids, using) if in_order else [0] * len(pairs)
    store_for(using).insert_deliveries(
        [_delivery(event, target, place, now) for (event, target), place in zip(pairs, places, strict=True)]
    )
    _mark_done(events, plan.position, now, using)
    woken = make_unlocked_queues_due(endpoint_ids, now, using=using)
    unnumbered = {target.endpoint_id for (_, target), place in zip(pairs, places, strict=True) if not place}
    woken -= fifo_of(woken & unnumbered, using)
    return FannedOut(len(events), len(pairs), woken, set(endpoint_ids) - woken)


def create_missing_tenants(
    uids: Mapping[uuid.UUID, str],
    using: str,
    lock_timeout: float,
    last_try: Callable[[uuid.UUID], float],
    on_refused: Callable[[uuid.UUID, Exception], object],
    has_time: Callable[[], bool],
) -> tuple[set[uuid.UUID], uuid.UUID | None]:
    """Create the rows of tenants that `emit` named first: `uids` by id. Return the tenants whose rows exist now, and the tenant
    whose row cannot be created yet, because another transaction is creating it and has not committed.

    All are created in one statement. If that fails, they are created one by one, in the order of `last_try`, while `has_time`.
    Waiting for a lock takes time, so the tenants after it are not tried. `on_refused`: called for a tenant whose row the database
    refuses, because of a constraint or trigger of the host's; the others are tried.
    """
    rows = Tenant.objects.using(using).filter(any_of("id", uids))
    known = read(lambda: set(rows.values_list("id", flat=True)), using)
    missing = sorted(uids.keys() - known, key=lambda key: (last_try(key), key))
    if len(missing) > 1:
        try:
            _create_tenants([uids[key] for key in sorted(missing)], using, lock_timeout)
        except Exception as error:
            if is_outage(error):
                raise
        else:
            return known.union(missing), None
    for number, tenant_id in enumerate(missing):
        if number and not has_time():
            break
        try:
            _create_tenants([uids[tenant_id]], using, lock_timeout)
        except Exception as error:
            if is_lock_timeout(error):
                return known, tenant_id
            if is_outage(error) or is_transient(error):
                raise
            on_refused(tenant_id, error)
            continue
        known.add(tenant_id)
    return known, None


def _create_tenants(uids: Sequence[str], using: str, lock_timeout: float) -> None:
    rows = [Tenant(uid=uid) for uid in uids]
    work = partial(Tenant.objects.using(using).bulk_create, rows, ignore_conflicts=True)
    in_fresh_transaction(work, using, relaxed=True, lock_timeout=lock_timeout)


def _assign_sequences(
    pairs: Sequence[tuple[PendingEvent, Target]], endpoint_ids: Sequence[uuid.UUID], using: str
) -> list[int]:
    """Return sequence numbers for FIFO endpoints, assigned under the lock of the queue's row; 0 where earlier deliveries may not
    have one yet (see `numbering`). All the rows are locked here, not only the FIFO ones:
    `make_unlocked_queues_due` locks the rest later, and locking them out of order could deadlock."""
    queues = EndpointQueue.objects.using(using)
    wanted = queues.filter(any_of("endpoint_id", endpoint_ids))
    rows = list(wanted.locked(skip_locked=True).values_list("endpoint_id", "sequence", "fifo"))
    if len(rows) < wanted.count():
        raise RowsBusy
    last = {endpoint_id: sequence for endpoint_id, sequence, fifo in rows if fifo}
    for endpoint_id in not_fully_numbered(last, using):
        del last[endpoint_id]
    places = []
    for _, target in pairs:
        if target.endpoint_id in last:
            last[target.endpoint_id] += 1
        places.append(last.get(target.endpoint_id, 0))
    # Nearly always all queues get the same number: one statement instead of one per queue.
    by_number: dict[int, list[uuid.UUID]] = defaultdict(list)
    for endpoint_id, number in Counter(target.endpoint_id for _, target in pairs).items():
        if endpoint_id in last:
            by_number[number].append(endpoint_id)
    for number, some in by_number.items():
        queues.filter(any_of("endpoint_id", some)).update(sequence=F("sequence") + number)
    return places


def _delivery(event: PendingEvent, target: Target, place: int, now: datetime) -> NewDelivery:
    expires_at = now + known_retry_policy_of(target.wire_format).max_age
    return NewDelivery(new_id(), event.tenant_id, event.id, target.endpoint_id, now, expires_at, place)


def _mark_done(events: Sequence[PendingEvent], position: uuid.UUID | None, now: datetime, using: str) -> None:
    """Mark finished events as no longer pending; a large, unfinished event only moves its position."""
    rows = Event.objects.using(using).filter(any_of("id", [event.id for event in events]))
    if position is not None:
        rows.update(fan_out_position=position)
    else:
        rows.update(fanned_out_at=now)
    channels = [
        EventChannel(tenant_id=event.tenant_id, event_id=event.id, channel=channel)
        for event in events
        for channel in event.channels
    ]
    if channels:
        EventChannel.objects.using(using).bulk_create(channels, ignore_conflicts=True)
