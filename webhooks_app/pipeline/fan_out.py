"""② fan_out: committed events become deliveries, in bulk, each batch in a short transaction of its own."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from django.db import DataError, IntegrityError, InternalError
from django.db.utils import Error as DatabaseFailure

from webhooks_app import signals
from webhooks_app.core.retry import RetryPolicy
from webhooks_app.exceptions import ConfigurationError
from webhooks_app.models import Delivery, EndpointQueue, Event, EventChannel, Tenant
from webhooks_app.models.ids import new_id
from webhooks_app.models.lookups import any_of
from webhooks_app.pipeline.callbacks import callback_targets, keep_callbacks
from webhooks_app.pipeline.claim import claim_any, claim_in_order
from webhooks_app.pipeline.matching import Target, match
from webhooks_app.pipeline.store import PostgreSQLStore, store_for
from webhooks_app.pipeline.store.rows import NewDelivery
from webhooks_app.pipeline.store.spread import Spread, spread_plain
from webhooks_app.pipeline.transactions import in_fresh_transaction
from webhooks_app.pipeline.wake import wake
from webhooks_app.profiles import get_profile, profile_names

logger = logging.getLogger(__name__)

#: Errors that are an event's own fault; any other database error is the database's, and no event is blamed for it.
_EVENTS_FAULT = (DataError, IntegrityError, InternalError)


@dataclass(slots=True)
class FannedOut:
    """What a fan-out has done: events finished or advanced, deliveries made, queues woken."""

    events: int = 0
    deliveries: int = 0
    woken: set[uuid.UUID] = field(default_factory=set)
    #: Tenants with FIFO endpoints, whose events are taken in order and by one worker at a time.
    in_order: set[uuid.UUID] = field(default_factory=set)

    def add(self, other: FannedOut) -> None:
        self.events += other.events
        self.deliveries += other.deliveries
        self.woken |= other.woken


#: Claims some pending events and spreads them, inside the caller's transaction: (now, using, how many events at most).
Step = Callable[[datetime, str, int], FannedOut]


def fan_out(now: datetime, using: str) -> FannedOut:
    """Turn one batch of pending events into deliveries and wake their queues.

    Safe to run anywhere, any number of times and by many at once. An event that cannot be fanned out gets its error stored
    and stops nobody.
    """
    done, others_wait = _spread_plain(now, using)
    if others_wait:
        rest = _in_batch_or_singly(_spread_claimed, now, using)
        done.add(rest)
        for tenant_id in sorted(rest.in_order):
            done.add(_in_batch_or_singly(partial(_spread_in_order, tenant_id), now, using))
    return done


def _spread_plain(now: datetime, using: str) -> tuple[FannedOut, bool]:
    """The plain events, where the database can do it in one statement. The second value: do events wait that are not plain,
    or do not fit into one transaction?"""
    store = store_for(using)
    if not isinstance(store, PostgreSQLStore):
        return FannedOut(), True

    def spread_and_wake() -> Spread:
        limits = {"events": store.limits.events, "deliveries": store.limits.deliveries}
        ages = {name: get_profile(name).retry.max_age for name in profile_names()}
        done = spread_plain(now, using, ages=ages, default_age=RetryPolicy().max_age, **limits)
        wake(done.endpoint_ids, now, using=using)
        _give_late_places(done.endpoint_ids, using)
        return done

    try:
        done = in_fresh_transaction(spread_and_wake, using)
    except _EVENTS_FAULT as error:
        logger.warning("webhooks: a fan-out in one statement failed and is done the long way: %r", error)
        return FannedOut(), True
    others_wait = done.pending > done.plain or (done.plain > 0 and done.events == 0)
    return FannedOut(done.events, done.deliveries, set(done.endpoint_ids)), others_wait


def _in_batch_or_singly(step: Step, now: datetime, using: str) -> FannedOut:
    """One batch in one transaction; where that fails, event by event, so that one bad event does not stop the others."""
    most = store_for(using).limits.events
    try:
        return in_fresh_transaction(lambda: step(now, using, most), using)
    except Exception as error:
        if _is_databases_fault(error):
            raise
        logger.warning("webhooks: a fan-out batch failed and is repeated event by event: %r", error)
    done = FannedOut()
    for _ in range(most):
        single = _single(step, now, using)
        done.add(single)
        if not single.events:
            break
    return done


def _single(step: Step, now: datetime, using: str) -> FannedOut:
    try:
        return in_fresh_transaction(lambda: step(now, using, 1), using)
    except Exception as error:
        if _is_databases_fault(error):
            raise
        failing = getattr(error, "webhooks_event", None)
        if failing is None:
            raise
        _put_aside(failing, error, now, using)
        return FannedOut(events=1)


def _is_databases_fault(error: Exception) -> bool:
    return isinstance(error, DatabaseFailure) and not isinstance(error, _EVENTS_FAULT)


def _put_aside(event: Event, error: Exception, now: datetime, using: str) -> None:
    reason = f"fan-out failed: {type(error).__name__}: {error}"[:2000]
    logger.error("webhooks: event %s was quarantined: %s", event.public_id, reason)
    pending = Event.objects.using(using).pending().filter(id=event.id)
    in_fresh_transaction(lambda: pending.update(fanned_out_at=now, quarantine_reason=reason), using)
    signals.event_quarantined.send_robust(sender=Event, event_id=event.id, tenant_id=event.tenant_id, reason=reason)


# --- spreading -----------------------------------------------------------------------------------------------------------


def _spread_claimed(now: datetime, using: str, limit: int) -> FannedOut:
    """Any pending events; those of tenants with FIFO endpoints are only named, not spread."""
    claimed = claim_any(using, limit)
    done = _spread([event for event in claimed if not event.in_order], now, using, in_order=False)
    done.in_order = {event.tenant_id for event in claimed if event.in_order}
    return done


def _spread_in_order(tenant_id: uuid.UUID, now: datetime, using: str, limit: int) -> FannedOut:
    """One tenant's events in the order of their ids."""
    return _spread(claim_in_order(tenant_id, using, limit), now, using, in_order=True)


def _spread(events: Sequence[Event], now: datetime, using: str, *, in_order: bool) -> FannedOut:
    """Make the deliveries of these events, as many as fit into one transaction, and wake their queues."""
    if not events:
        return FannedOut()
    try:
        return _spread_unguarded(events, now, using, in_order=in_order)
    except Exception as error:
        if len(events) == 1:
            error.webhooks_event = events[0]  # type: ignore[attr-defined]
        raise


def _spread_unguarded(events: Sequence[Event], now: datetime, using: str, *, in_order: bool) -> FannedOut:
    store = store_for(using)
    _make_missing_tenants(events, using)
    callbacks = callback_targets(events, using)
    plain = [event for event in events if event.id not in callbacks]
    matches = match(plain, using, store.limits.subscriptions) if plain else None
    wanted = [(event, [callbacks[event.id]]) for event in events if event.id in callbacks]
    wanted += matches.events if matches else []
    wanted.sort(key=lambda pair: pair[0].id)
    fitting, position = _fit(wanted, matches.position if matches else None, store.limits.deliveries)
    pairs = [(event, target) for event, targets in fitting for target in targets]
    woken = sorted({target.endpoint_id for _, target in pairs})
    keep_callbacks([event for event, _ in fitting], woken, using)
    places = _places(pairs, woken, using) if in_order else [0] * len(pairs)
    store.insert_deliveries(
        [_delivery(event, target, place, now) for (event, target), place in zip(pairs, places, strict=True)]
    )
    _mark_done([event for event, _ in fitting], position, now, using)
    wake(woken, now, using=using)
    if not in_order:
        _give_late_places(woken, using)
    return FannedOut(events=len(fitting), deliveries=len(pairs), woken=set(woken))


Wanted = list[tuple[Event, list[Target]]]


def _fit(wanted: Wanted, position: uuid.UUID | None, deliveries: int) -> tuple[Wanted, uuid.UUID | None]:
    """The leading events whose deliveries, so many at most, fit into one transaction. An event too large for one alone is
    cut: the second value is then the endpoint to go on after."""
    room = deliveries
    for number, (event, targets) in enumerate(wanted):
        if len(targets) > room:
            if number > 0:
                return wanted[:number], None
            return [(event, targets[:room])], targets[room - 1].endpoint_id
        room -= len(targets)
    return wanted, position


def _make_missing_tenants(events: Sequence[Event], using: str) -> None:
    """The rows of tenants that `emit` was the first to name."""
    uids = {event.tenant_id: event.tenant_uid for event in events}
    known = set(Tenant.objects.using(using).filter(any_of("id", uids)).values_list("id", flat=True))
    missing = [Tenant(uid=uid) for tenant_id, uid in sorted(uids.items()) if tenant_id not in known]
    if missing:
        Tenant.objects.using(using).bulk_create(missing, ignore_conflicts=True)


def _places(pairs: Sequence[tuple[Event, Target]], endpoint_ids: Sequence[uuid.UUID], using: str) -> list[int]:
    """Numbers in each FIFO endpoint's order, given under its queue row's lock. All the rows are locked here, not the FIFO
    ones alone: `wake` will lock the rest, and out of order that would be a deadlock."""
    queues = EndpointQueue.objects.using(using)
    rows = queues.filter(any_of("endpoint_id", endpoint_ids)).locked().values_list("endpoint_id", "sequence", "fifo")
    last = {endpoint_id: sequence for endpoint_id, sequence, fifo in rows if fifo}
    places = []
    for _, target in pairs:
        if target.endpoint_id in last:
            last[target.endpoint_id] += 1
        places.append(last.get(target.endpoint_id, 0))
    for endpoint_id, sequence in sorted(last.items()):
        queues.filter(endpoint_id=endpoint_id).update(sequence=sequence)
    return places


def _give_late_places(endpoint_ids: Collection[uuid.UUID], using: str) -> None:
    """An endpoint may have become FIFO since the events were claimed; without a place its deliveries would be nobody's
    head. `wake` has locked the queues' rows, so that it is certain now."""
    if not endpoint_ids:
        return
    queues = EndpointQueue.objects.using(using).filter(any_of("endpoint_id", endpoint_ids), fifo=True)
    for endpoint_id, last in queues.order_by("endpoint_id").values_list("endpoint_id", "sequence"):
        unplaced = Delivery.objects.using(using).pending().filter(endpoint_id=endpoint_id, sequence=0)
        keys = list(unplaced.order_by("event_id").values_list("id", flat=True))
        for place, key in enumerate(keys, start=last + 1):
            unplaced.filter(id=key).update(sequence=place)
        queues.filter(endpoint_id=endpoint_id).update(sequence=last + len(keys))


def _delivery(event: Event, target: Target, place: int, now: datetime) -> NewDelivery:
    return NewDelivery(
        new_id(), event.tenant_id, event.id, target.endpoint_id, now, now + _max_age(target.profile), place
    )


def _max_age(profile: str) -> timedelta:
    try:
        return get_profile(profile).retry.max_age
    except (
        ConfigurationError
    ):  # a profile that was taken out of the settings: the lease says so, the event is not to blame
        return RetryPolicy().max_age


def _mark_done(events: Sequence[Event], position: uuid.UUID | None, now: datetime, using: str) -> None:
    """Finished events are pending no more; a large one only moves its position."""
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
