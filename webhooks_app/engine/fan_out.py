"""② fan_out: create deliveries for committed events, in bulk, each batch in a short transaction of its own.

Tenants take turns and have a share each. An event or tenant that fails loses its turn: it is paused, longer each time, and the
others continue. Only an event that is itself at fault is quarantined (see `quarantine`).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from functools import partial
from itertools import takewhile
from typing import TypeVar

from webhooks_app.core.retry import RetryPolicy
from webhooks_app.database_errors import is_lock_timeout, is_outage
from webhooks_app.db import divided, in_fresh_transaction
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
from webhooks_app.engine.pending_events import Share, TenantTurns, part_of, read_pending, read_these
from webhooks_app.engine.pending_floor import pending_floor
from webhooks_app.engine.quarantine import Quarantine
from webhooks_app.engine.sql import PostgreSQLStore, store_for
from webhooks_app.engine.sql.fan_out import fan_out_in_sql
from webhooks_app.engine.types import FannedOut, PendingEvent
from webhooks_app.log_thread import engine_logger
from webhooks_app.telemetry.logs import log_ids
from webhooks_app.wire_formats import known_retry_policy_of, wire_format_names

logger = engine_logger(__name__)

Done = TypeVar("Done")

#: How often one step may wait for locks, which delays all tenants. Those not tried have their turn in the next step.
_MOST_WAITS = 2
#: How many held events one step tries while they succeed, and for how long (seconds); and how long after a failure the next one
#: is tried: hundreds of failing events in a row would delay all tenants.
_MOST_TRIED = 50
_LONGEST_HELD = 0.05
_AFTER_HELD_FAILED = 0.05


class FanOut:
    """Create deliveries for pending events. Safe to run repeatedly and concurrently, in any process."""

    def __init__(
        self,
        using: str,
        options: EngineOptions,
        faults: FaultLog,
        send_signal: Callable[[Callable[[], object]], object] = lambda send: send(),
    ) -> None:
        """`send_signal` calls the given function on a separate thread."""
        self._using = using
        self._options = options
        self._faults = faults
        self._store = store_for(using)
        self._turns = TenantTurns(using)
        #: Lock timeouts that this step may still run into, and until when (monotonic) it may try events one by one.
        self._waits_left, self._parts_until = _MOST_WAITS, 0.0
        #: What `begin` has left for `go_on`, by tenant.
        self._large: dict[uuid.UUID, Share] = {}
        #: Until when (monotonic) more single events are expected.
        self._single_until = 0.0
        self._paused_tenants = Pauses(longest=1.0)
        self._held_events = HeldEvents(options.max_held_events)
        #: From when on (monotonic) held events are tried again.
        self._held_from = 0.0
        self._quarantine = Quarantine(using, options, faults, self._held_events, send_signal)
        self.owed_wakes = OwedWakes(using, options)

    def begin(self, now: datetime) -> FannedOut:
        """Fan out the small shares of a batch; `go_on` does the rest. Other steps run in between, so an event for one endpoint
        does not wait for an event for a thousand."""
        self._waits_left, self._parts_until = _MOST_WAITS, time.monotonic() + self._options.one_by_one_seconds
        shares = self._turns.next(self._paused_tenants.active())
        tenants = {share.tenant.id for share in shares if not share.tenant.fifo}
        small = [share for share in shares if share.deliveries <= self._options.small_share]
        held = self._held_events.by_tenant()
        new = [
            share
            for share in small
            if not (share.takes_all and share.tenant.events <= len(held.get(share.tenant.id, ())))
        ]
        if len(shares) < self._store.limits.tenants and any(share.takes_all for share in new):
            self._single_until = time.monotonic() + self._options.single_events_seconds
        if new or self.serves_single_events:
            self._large.update(
                (share.tenant.id, share) for share in shares if share.deliveries > self._options.small_share
            )
            shares = small
        done = self._fan_out(shares, now, self._store.limits.deliveries)
        done.add(self._try_held(tenants, now))
        return done

    def go_on(self, now: datetime) -> FannedOut:
        """Fan out what `begin` has left."""
        self._parts_until = time.monotonic() + self._options.one_by_one_seconds
        options = self._options
        portion = options.large_portion_beside_single if self.serves_single_events else options.large_portion
        deliveries = min(self._store.limits.deliveries, portion)
        paused = self._paused_tenants.active()
        left = {key: share for key, share in self._large.items() if key not in paused}
        shares = part_of(sorted(left.values(), key=self._turns.last_served), deliveries)
        for share in shares:
            del left[share.tenant.id]
        self._large = left
        self._turns.note_served(shares)
        return self._fan_out(shares, now, deliveries)

    def _fan_out(self, shares: Sequence[Share], now: datetime, deliveries: int) -> FannedOut:
        done = self._fan_out_plain([share for share in shares if share.tenant.plain], now, deliveries)
        self.owed_wakes.add(done.unwoken, now)  # before the other events, which may fail
        left = [share for share in shares if not share.tenant.plain or share.tenant.id in done.tenants_left]
        done.add(self._fan_out_others([share for share in left if not share.tenant.fifo], now, deliveries))
        in_order = sorted((share for share in left if share.tenant.fifo), key=self._turns.last_served)
        for share in in_order:
            if share is in_order[0] or (self._waits_left and time.monotonic() < self._parts_until):
                self._turns.note_served([share])
                done.add(self._fan_out_others([share], now, deliveries, in_order=True))
        self.owed_wakes.add(done.unwoken, now)
        return done

    @property
    def serves_single_events(self) -> bool:
        """Return whether tenants with only a few pending events were served recently. Work is then done in small portions, so
        that the next such event starts soon."""
        return time.monotonic() < self._single_until

    # --- plain events ------------------------------------------------------------------------------------------------

    def _fan_out_plain(self, shares: Sequence[Share], now: datetime, deliveries: int) -> FannedOut:
        """Fan out the plain events of these tenants in one statement, up to `deliveries` deliveries. If it fails, the general
        path finds the event at fault."""
        if not shares or not isinstance(self._store, PostgreSQLStore):
            return FannedOut()
        held = self._held_events.by_tenant()
        try:
            found = fan_out_in_sql(
                now,
                self._using,
                shares={share.tenant.id: share.events for share in shares},
                held=set().union(*(held.get(share.tenant.id, ()) for share in shares)),
                floor=pending_floor(self._using).id,
                deliveries=deliveries,
                ages={name: known_retry_policy_of(name).max_age for name in wire_format_names()},
                default_age=RetryPolicy().max_age,
            )
        except Exception as error:
            if is_outage(error):
                raise
            what = "a fan-out in one statement failed and is done the long way: %r"
            self._faults.report("fan-out in sql", what, error)
            return FannedOut(tenants_left={share.tenant.id for share in shares})
        return FannedOut(found.events, found.deliveries, set(found.woken), set(found.unwoken), set(found.tenants_left))

    # --- all others --------------------------------------------------------------------------------------------------

    def _fan_out_others(
        self, shares: Sequence[Share], now: datetime, deliveries: int, *, in_order: bool = False
    ) -> FannedOut:
        if not shares:
            return FannedOut()
        held = self._held_events.by_tenant()
        found: list[PendingEvent] = []

        def find(some: list[Share]) -> None:
            found.extend(self._in_transaction(partial(read_pending, some, held, self._using, in_order=in_order)))

        divided(find, shares, lambda share, error: self._pause(share.tenant.id, error))
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
        for event in alone.values():
            done.add(self._in_batch([event], now, deliveries, in_order=in_order))
        return done

    def _try_held(self, tenants: Collection[uuid.UUID], now: datetime) -> FannedOut:
        """Try held events of these tenants again, each alone. A failure ends its tenant's turn; after a time limit the
        others wait for the next step. `tenants`: without those that have FIFO endpoints, whose held events are the next in
        their order anyway."""
        done, began = FannedOut(), time.monotonic()
        due = self._held_events.due(tenants)[:_MOST_TRIED] if began >= self._held_from else []
        if not due:
            return done
        found: dict[uuid.UUID, PendingEvent] = {}

        def find(some: list[uuid.UUID]) -> None:
            found.update((event.id, event) for event in read_these(some, self._using))

        divided(find, due, lambda *_: None)
        # Another engine has fanned it out; or it can no longer be read, and its tenant is paused for that.
        self._held_events.forget([key for key in due if key not in found])
        failed: set[uuid.UUID] = set()
        portion = min(self._store.limits.deliveries, self._options.large_portion_beside_single)
        for event in self._with_tenants([found[key] for key in due if key in found]):
            if event.tenant_id in failed:
                continue
            one = self._in_batch([event], now, portion, in_order=False)
            self.owed_wakes.add(one.unwoken, now)
            done.add(one)
            if not one.events:
                failed.add(event.tenant_id)
                self._held_from = time.monotonic() + _AFTER_HELD_FAILED
                if self._held_events.is_due(event):  # another transaction has locked its row
                    self._held_events.put(event)
            if time.monotonic() > began + _LONGEST_HELD:
                break
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
                self._held_events.forget([event.id for event in plan.events])
            # The others did not fit: tenants that this batch has not served continue now, the rest wait for their turn.
            served = {event.tenant_id for event in plan.events}
            left = [event for event in left if event.tenant_id not in served]
        return done

    def _in_parts(
        self, events: Sequence[PendingEvent], error: Exception, now: datetime, deliveries: int, *, in_order: bool
    ) -> FannedOut:
        done, tenants = FannedOut(), sorted({event.tenant_id for event in events})
        if len(tenants) > 1:
            for tenant_id in sorted(tenants, key=self._paused_tenants.last):
                if self._waits_left:
                    some = [event for event in events if event.tenant_id == tenant_id]
                    done.add(self._in_batch(some, now, deliveries, in_order=in_order))
        elif isinstance(error, RowsBusy):
            self._paused_tenants.put(tenants[0])
        elif is_lock_timeout(error):
            self._waits_left = max(self._waits_left - 1, 0)
            self._paused_tenants.put(tenants[0])
        elif len(events) > 1:
            for event in events:
                one = self._in_batch([event], now, deliveries, in_order=in_order)
                done.add(one)
                if (in_order and not one.events) or time.monotonic() > self._parts_until:
                    break  # nothing may overtake this event; or time is up and other tenants have their turn
        else:
            done.add(self._quarantine.put_aside(events[0], error, now))
            if in_order and not done.events:
                self._paused_tenants.put(tenants[0])
        return done

    def _pause(self, tenant_id: uuid.UUID, error: Exception) -> None:
        self._paused_tenants.put(tenant_id)
        self._faults.report(
            f"tenant {tenant_id}",
            "the pending events of a tenant cannot be read, or its row cannot be created",
            error=error,
            ids=log_ids(tenant=tenant_id),
        )

    def _with_tenants(self, events: Sequence[PendingEvent]) -> list[PendingEvent]:
        """Return the events of tenants whose rows exist. If another transaction is inserting a tenant's row, do not wait: that
        tenant has its turn later."""
        there, busy = create_missing_tenants(
            events, self._using, self._options.lock_timeout, self._paused_tenants.last, self._pause
        )
        if busy is not None:
            self._paused_tenants.put(busy)
        return [event for event in events if event.tenant_id in there]

    def _in_transaction(self, work: Callable[[], Done]) -> Done:
        return in_fresh_transaction(work, self._using, relaxed=True, lock_timeout=self._options.lock_timeout)
