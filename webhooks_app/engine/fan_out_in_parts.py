"""Fan out events that are not plain: in a batch and, if that fails, tenant by tenant, and event by event.

An event or tenant that fails loses its turn: it is paused, longer each time, and the others continue. Only an event that is
itself at fault is quarantined (see `quarantine`).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import takewhile
from typing import TypeVar

from webhooks_app.database_errors import is_lock_timeout, is_outage
from webhooks_app.db import divided, in_fresh_transaction, read
from webhooks_app.engine.create_deliveries import (
    RowsBusy,
    create_missing_tenants,
    plan_deliveries,
    write_deliveries,
)
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.held_events import HeldEvents
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.owed_wakes import OwedWakes
from webhooks_app.engine.pauses import Pauses
from webhooks_app.engine.pending_events import Share, read_pending, read_these
from webhooks_app.engine.pending_floor import Floor, pending_floor
from webhooks_app.engine.quarantine import Quarantine
from webhooks_app.engine.sql import store_for
from webhooks_app.engine.types import FannedOut, PendingEvent
from webhooks_app.models import Endpoint, EndpointStatus
from webhooks_app.models.lookups import any_of
from webhooks_app.telemetry.logs import log_ids

Done = TypeVar("Done")

#: How often one step may wait for locks, which delays all tenants. Those not tried have their turn in the next step.
_MOST_WAITS = 2
#: How many held events one step tries while they succeed, and for how long (seconds); and how long after a failure the next one
#: is tried: hundreds of failing events in a row would delay all tenants.
_MOST_TRIED = 50
_LONGEST_HELD = 0.05
_AFTER_HELD_FAILED = 0.05
#: After so many events of a tenant that failed one after the other, its turn is over: the next ones would most likely fail.
_MOST_FAILED = 3
#: How often to try the events below the floor (seconds).
_BELOW_FLOOR_EVERY = 0.25
#: With more tenants than this, the times when they were tried are dropped.
_MOST_REMEMBERED = 1000


class FanOutInParts:
    """Used by one fan-out. A step has a time limit and may wait for few locks: what it does not reach has its turn later."""

    def __init__(
        self,
        using: str,
        options: EngineOptions,
        faults: FaultLog,
        owed_wakes: OwedWakes,
        send_signal: Callable[[Callable[[], object]], object],
    ) -> None:
        """`send_signal`: see `FanOut`."""
        self._using = using
        self._options = options
        self._faults = faults
        self._store = store_for(using)
        self._owed_wakes = owed_wakes
        #: Lock timeouts that this step may still run into, and until when (monotonic) it may work one by one.
        self._waits_left, self._until = _MOST_WAITS, 0.0
        self._floor = Floor()
        #: The tenants that this step had no time for.
        self.unreached: set[uuid.UUID] = set()
        self.paused_tenants = Pauses(longest=1.0)
        #: When tenants of a batch that failed were tried alone (monotonic).
        self._tried_at: dict[uuid.UUID, float] = {}
        self.held_events = HeldEvents(options.max_held_events)
        #: From when on (monotonic) held events are tried again.
        self._held_from = 0.0
        #: From when on (monotonic) events below the floor are tried again.
        self._below_from = 0.0
        self._quarantine = Quarantine(using, options, faults, self.held_events, send_signal)

    def start_step(self, floor: Floor) -> None:
        """Allow the next step as many lock timeouts as a step may run into. `floor`: that of the step."""
        self._waits_left, self._floor = _MOST_WAITS, floor

    def start_time(self, seconds: float) -> None:
        """Start the time for which this step may work one by one."""
        self._until = time.monotonic() + seconds
        self.unreached.clear()

    def paused(self) -> set[uuid.UUID]:
        """Return the tenants that are left alone now: a row of theirs is locked, or their events fail."""
        return self.paused_tenants.active() | self.held_events.paused_tenants()

    @property
    def has_time(self) -> bool:
        return self._waits_left > 0 and time.monotonic() < self._until

    def fan_out(self, shares: Sequence[Share], now: datetime, deliveries: int, *, in_order: bool = False) -> FannedOut:
        """Fan out events of these tenants, up to `deliveries` deliveries. `in_order`: it is one tenant with FIFO endpoints."""
        if not shares:
            return FannedOut()
        held = self.held_events.by_tenant()
        found: list[PendingEvent] = []

        def find(some: list[Share]) -> None:
            read_some = partial(read_pending, some, held, self._floor.id, self._using, in_order=in_order)
            found.extend(self._in_transaction(read_some, walks_index=True))

        unread = divided(
            find,
            shares,
            lambda share, error: self._pause(share.tenant.id, error),
            seconds=self._options.one_by_one_seconds,
        )
        self.unreached.update(share.tenant.id for share in unread)
        events = self._with_tenants(sorted(found, key=lambda event: event.id))
        # An event that is fanned out in parts, or that is held, is processed alone.
        alone = {
            event.id: event
            for event in events
            if event.fan_out_position is not None or event.id in held.get(event.tenant_id, ())
        }
        if in_order and alone:  # and nothing overtakes it
            before = list(takewhile(lambda event: event.id not in alone, events))
            return self._in_batch(before or events[:1], now, deliveries, in_order=True)
        done = self._in_batch([event for event in events if event.id not in alone], now, deliveries, in_order=in_order)
        for number, event in enumerate(alone.values()):
            if number and not self.has_time:
                self.unreached.update(event.tenant_id for event in list(alone.values())[number:])
                break
            done.add(self._in_batch([event], now, deliveries, in_order=in_order))
        return done

    def try_held(self, tenants: Collection[uuid.UUID], now: datetime) -> FannedOut:
        """Try held events of these tenants again, each alone. A failure ends its tenant's turn; after a time limit the
        others wait for the next step. `tenants`: without those that have FIFO endpoints, whose held events are the next in
        their order anyway."""
        done, began = FannedOut(), time.monotonic()
        due = self.held_events.due(tenants)[:_MOST_TRIED] if began >= self._held_from else []
        if not due:
            return done
        found: dict[uuid.UUID, PendingEvent] = {}

        def find(some: list[uuid.UUID]) -> None:
            found.update((event.id, event) for event in read_these(some, self._using))

        divided(find, due, lambda *_: None)
        # Another engine has fanned it out; or it can no longer be read, and its tenant is paused for that.
        self.held_events.forget([key for key in due if key not in found])
        failed: set[uuid.UUID] = set()
        portion = min(self._store.limits.deliveries, self._options.large_portion_beside_single)
        for event in self._with_tenants([found[key] for key in due if key in found]):
            if event.tenant_id in failed:
                continue
            one = self._in_batch([event], now, portion, in_order=False)
            self._owed_wakes.add(one.unwoken, now)
            done.add(one)
            if not one.events:
                failed.add(event.tenant_id)
                self._held_from = time.monotonic() + _AFTER_HELD_FAILED
                if self.held_events.is_due(event):  # another transaction has locked its row
                    self.held_events.put(event)
            if time.monotonic() > began + _LONGEST_HELD:
                break
        return done

    def try_below_floor(self, now: datetime) -> FannedOut:
        """Fan out the pending events below the floor, which no other step sees (see `pending_floor`), each alone."""
        done, below = FannedOut(), self._floor.below
        if not below or time.monotonic() < self._below_from:
            return done
        self._below_from = time.monotonic() + _BELOW_FLOOR_EVERY
        found = {event.id: event for event in read_these(list(below), self._using)}
        pending_floor(self._using).forget_below(below.keys() - found.keys())
        held = set().union(*self.held_events.by_tenant().values())
        waiting = self.paused()
        fifo = _with_fifo_endpoints({event.tenant_id for event in found.values()}, self._using)
        # `try_held` tries held events, but not those of FIFO tenants.
        events = [event for event in found.values() if event.id not in held or event.tenant_id in fifo]
        portion = min(self._store.limits.deliveries, self._options.large_portion_beside_single)
        in_turn = sorted(self._with_tenants(events), key=lambda event: (self._last_try(event.tenant_id), event.id))
        for number, event in enumerate(in_turn):
            if number and not self.has_time:
                break
            if event.tenant_id in waiting:
                continue
            self._tried_at[event.tenant_id] = time.monotonic()
            one = self._in_batch([event], now, portion, in_order=event.tenant_id in fifo)
            self._owed_wakes.add(one.unwoken, now)
            done.add(one)
            if not one.events:
                waiting.add(event.tenant_id)  # nothing may overtake it
        return done

    def _in_batch(self, events: Sequence[PendingEvent], now: datetime, deliveries: int, *, in_order: bool) -> FannedOut:
        """Fan out a batch in one transaction; if that fails, tenant by tenant, and if that fails, event by event."""
        done, left = FannedOut(), list(events)
        while left:
            try:
                plan = plan_deliveries(left, self._using, self._options.lock_timeout, deliveries)
                result = self._in_transaction(partial(write_deliveries, plan, now, self._using, in_order=in_order))
            except Exception as error:
                if is_outage(error):
                    raise
                done.add(self._in_parts(left, error, now, deliveries, in_order=in_order))
                return done
            done.add(result)
            if result.events == len(plan.events):  # otherwise another engine has locked some, and may fail
                self.held_events.note_fanned_out(plan.events)
            # The others did not fit: tenants that this batch has not served continue now, the rest wait for their turn.
            served = {event.tenant_id for event in plan.events}
            left = [event for event in left if event.tenant_id not in served]
            if left and not self.has_time:
                self.unreached.update(event.tenant_id for event in left)
                break
        return done

    def _in_parts(
        self, events: Sequence[PendingEvent], error: Exception, now: datetime, deliveries: int, *, in_order: bool
    ) -> FannedOut:
        done, tenants = FannedOut(), sorted({event.tenant_id for event in events})
        if len(tenants) > 1:
            in_turn = sorted(tenants, key=self._last_try)
            for number, tenant_id in enumerate(in_turn):
                if number and not self.has_time:
                    self.unreached.update(in_turn[number:])
                    break
                self._tried_at[tenant_id] = time.monotonic()
                some = [event for event in events if event.tenant_id == tenant_id]
                done.add(self._in_batch(some, now, deliveries, in_order=in_order))
        elif isinstance(error, RowsBusy):
            self.paused_tenants.put(tenants[0])
        elif is_lock_timeout(error):
            self._waits_left = max(self._waits_left - 1, 0)
            self.paused_tenants.put(tenants[0])
        elif len(events) > 1:
            failed = 0
            for event in events:
                one = self._in_batch([event], now, deliveries, in_order=in_order)
                done.add(one)
                failed = 0 if one.events else failed + 1
                if (in_order and failed) or failed == _MOST_FAILED or time.monotonic() > self._until:
                    break  # nothing may overtake this event; or other tenants have their turn
        else:
            done.add(self._quarantine.put_aside(events[0], error, now, in_order=in_order))
        return done

    def _last_try(self, tenant_id: uuid.UUID) -> float:
        """Return when this tenant was tried alone last, 0.0 if it was not."""
        if len(self._tried_at) > _MOST_REMEMBERED:
            self._tried_at.clear()
        pauses = self.paused_tenants.last(tenant_id), self.held_events.last_pause(tenant_id)
        return max(self._tried_at.get(tenant_id, 0.0), *pauses)

    def _pause(self, tenant_id: uuid.UUID, error: Exception) -> None:
        self.held_events.pause(tenant_id)
        self._faults.report(
            f"tenant {tenant_id}",
            "the pending events of a tenant cannot be read, or its row cannot be created",
            error=error,
            ids=log_ids(tenant=tenant_id),
        )

    def _with_tenants(self, events: Sequence[PendingEvent]) -> list[PendingEvent]:
        """Return the events of tenants whose rows exist."""
        there = self.create_tenants({event.tenant_id: event.tenant_uid for event in events})
        return [event for event in events if event.tenant_id in there]

    def create_tenants(self, uids: Mapping[uuid.UUID, str]) -> set[uuid.UUID]:
        """Create the missing rows of these tenants; return the tenants whose rows exist now. If another transaction is inserting
        a tenant's row, do not wait: that tenant has its turn later."""
        there, busy = create_missing_tenants(
            uids, self._using, self._options.lock_timeout, self._last_try, self._pause, lambda: self.has_time
        )
        if busy is not None:
            self.paused_tenants.put(busy)
        return there

    def _in_transaction(self, work: Callable[[], Done], *, walks_index: bool = False) -> Done:
        timeout = self._options.lock_timeout
        return in_fresh_transaction(work, self._using, relaxed=True, lock_timeout=timeout, walks_index=walks_index)


def _with_fifo_endpoints(tenants: Collection[uuid.UUID], using: str) -> set[uuid.UUID]:
    endpoints = Endpoint.objects.using(using).filter(any_of("tenant_id", tenants), fifo=True)
    live = endpoints.exclude(status=EndpointStatus.DELETED).values_list("tenant_id", flat=True)
    return read(lambda: set(live), using)
