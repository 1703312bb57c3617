"""Fan-out: create deliveries for committed events, in bulk, each batch in a short transaction of its own.

Tenants take turns and have a share each. Most events are plain: those of hundreds of tenants take one statement. The others take
longer (see `fan_out_in_parts`), so their tenants wait for the plain events of the rest.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime

from webhooks_app.core.retry import RetryPolicy
from webhooks_app.database_errors import is_outage
from webhooks_app.engine.fan_out_in_parts import FanOutInParts
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.owed_wakes import OwedWakes
from webhooks_app.engine.pending_events import Share, TenantTurns, all_held, part_of
from webhooks_app.engine.pending_floor import Floor, pending_floor
from webhooks_app.engine.sql import PostgreSQLStore, store_for
from webhooks_app.engine.sql.fan_out import fan_out_in_sql
from webhooks_app.engine.sql.types import MATCHES_A_DELIVERY
from webhooks_app.engine.types import FannedOut
from webhooks_app.wire_formats import known_retry_policy_of, wire_format_names

#: Up to this many slow tenants are served at once.
_FEW_SLOW = 8
#: How many tenants wait for `go_on`. Those beyond it have their turn again.
_MOST_LEFT = 1000


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
        #: The floor of this step.
        self._floor = Floor()
        #: What `begin` has left for `go_on`, by tenant.
        self._left: dict[uuid.UUID, Share] = {}
        #: Until when (monotonic) more single events are expected.
        self._single_until = 0.0
        self.owed_wakes = OwedWakes(using, options, faults)
        self._parts = FanOutInParts(using, options, faults, self.owed_wakes, send_signal)

    def begin(self, now: datetime) -> FannedOut:
        """Fan out the small shares of a batch; `go_on` does the rest. Other steps run in between, so an event for one endpoint
        does not wait for an event for a thousand, or for a thousand events of slow tenants."""
        self._start_step()
        shares = self._collect()
        tenants = {share.tenant.id for share in shares if not share.tenant.fifo}
        held = self._parts.held_events.by_tenant()
        # To read the events of a tenant that is not plain takes a statement of its own, in each step.
        without_new = all_held(shares, held, self._floor.id, self._using) if held else set()
        shares = [share for share in shares if share.tenant.id not in without_new]
        small = [share for share in shares if share.deliveries <= self._options.small_share]
        new = [
            share
            for share in small
            if not (share.takes_all and share.tenant.events <= len(held.get(share.tenant.id, ())))
        ]
        if len(shares) < self._store.limits.tenants and any(share.takes_all for share in new):
            self._single_until = time.monotonic() + self._options.single_events_seconds
        if new or self.serves_single_events:
            few_are_slow = sum(share.tenant.is_slow for share in small) <= _FEW_SLOW
            at_once = small if few_are_slow else [share for share in small if not share.tenant.is_slow]
            chosen = {share.tenant.id for share in at_once}
            self._leave([share for share in shares if share.tenant.id not in chosen])
            shares = at_once
        done = self._fan_out(shares, now, self._store.limits.deliveries, self._options.one_by_one_seconds)
        done.add(self._parts.try_held(tenants, now))
        done.add(self._parts.try_below_floor(now))
        return done

    def go_on(self, now: datetime) -> FannedOut:
        """Fan out what `begin` has left."""
        self._start_step()
        options = self._options
        portion, seconds = options.large_portion, options.one_by_one_seconds
        if self.serves_single_events:
            portion, seconds = options.large_portion_beside_single, options.one_by_one_seconds_beside_single
        deliveries = min(self._store.limits.deliveries, portion)
        paused = self._parts.paused()
        left = {key: share for key, share in self._left.items() if key not in paused}
        shares = part_of(sorted(left.values(), key=self._turns.last_served), deliveries)
        for share in shares:
            del left[share.tenant.id]
        self._left = left
        return self._fan_out(shares, now, deliveries, seconds)

    def _start_step(self) -> None:
        self._floor = pending_floor(self._using).floor
        self._parts.start_step(self._floor)

    def _collect(self) -> list[Share]:
        """Return the shares of the tenants whose turn it is. Create their rows where these are missing."""
        limits, until = self._store.limits, time.monotonic() + self._options.collect_seconds
        paused = self._parts.paused()
        shares: dict[uuid.UUID, Share] = {}
        events = deliveries = 0
        while True:
            page = {share.tenant.id: share for share in self._turns.next(paused, self._floor.id)}
            is_new = shares.keys().isdisjoint(page)
            shares.update(page)
            quick = [share for share in page.values() if self._is_quick(share)]
            events += sum(share.events for share in quick)
            deliveries += sum(share.deliveries for share in quick)
            full = events >= limits.events or deliveries >= limits.deliveries
            if self._turns.round_is_over or not is_new or full or time.monotonic() > until:
                break
        missing = {share.tenant.id: share.tenant.uid for share in shares.values() if not share.tenant.exists}
        if missing:
            self._parts.start_time(self._options.one_by_one_seconds)
            for key in missing.keys() - self._parts.create_tenants(missing):
                del shares[key]
        return list(shares.values())

    def _is_quick(self, share: Share) -> bool:
        return share.deliveries <= self._options.small_share and not share.tenant.is_slow

    def _leave(self, shares: Sequence[Share]) -> None:
        for share in shares:
            if len(self._left) < _MOST_LEFT:
                self._left[share.tenant.id] = share

    def _fan_out(self, shares: Sequence[Share], now: datetime, deliveries: int, seconds: float) -> FannedOut:
        """`seconds`: for how long to work one by one."""
        below_floor = set(self._floor.below.values())
        # Nothing overtakes an event of a FIFO tenant that is below the floor.
        shares = [share for share in shares if not (share.tenant.fifo and share.tenant.id in below_floor)]
        failing = self._parts.held_events.failing_tenants()
        apart = {share.tenant.id for share in shares if share.tenant.is_slow or share.tenant.id in failing}
        plain = [share for share in shares if share.tenant.plain and share.tenant.id not in failing]
        done = self._fan_out_plain(plain, now, deliveries)
        self.owed_wakes.add(done.unwoken, now)  # before the other events, which may fail
        done_at_once = {share.tenant.id for share in plain} - done.tenants_left
        left = [share for share in shares if share.tenant.id not in done_at_once]
        self._parts.start_time(seconds)
        done.add(self._parts.fan_out([share for share in left if share.tenant.id not in apart], now, deliveries))
        reached = [share for share in shares if share.tenant.id not in self._parts.unreached]
        self._turns.note_served([share for share in reached if share.tenant.id not in apart])
        slow = sorted((share for share in left if share.tenant.id in apart), key=self._turns.last_served)
        for number, share in enumerate(slow):
            if number and not self._parts.has_time:
                self._leave(slow[number:])
                break
            self._turns.note_served([share])
            done.add(self._parts.fan_out([share], now, deliveries, in_order=share.tenant.fifo))
        self._leave([share for share in left if share.tenant.id in self._parts.unreached])
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
        held = self._parts.held_events.by_tenant()
        try:
            found = fan_out_in_sql(
                now,
                self._using,
                shares={share.tenant.id: share.events for share in shares},
                held=set().union(*(held.get(share.tenant.id, ()) for share in shares)),
                floor=self._floor.id,
                deliveries=deliveries,
                ages={name: known_retry_policy_of(name).max_age for name in wire_format_names()},
                default_age=RetryPolicy().max_age,
                counted=[share.tenant.id for share in shares if share.tenant.endpoints > MATCHES_A_DELIVERY],
            )
        except Exception as error:
            if is_outage(error):
                raise
            what = "a fan-out in one statement failed and is done the long way: %r"
            self._faults.report("fan-out in sql", what, error)
            return FannedOut(tenants_left={share.tenant.id for share in shares})
        self._turns.note_each(found.each)
        return FannedOut(found.events, found.deliveries, set(found.woken), set(found.unwoken), set(found.tenants_left))
