"""The window: decides which request starts next. In-memory state under one lock; no clock, no I/O.

These rules keep one bad endpoint from slowing the others down:

- a queue starts with one request in flight and doubles with every success, up to its cap; a timeout resets it to one;
- tenants take turns, and so do the queues of one tenant;
- one tenant may fill half of the window while others wait, and three quarters of it while none does;
- queues without a success under their lease may fill half of the window, and those of one tenant a quarter; queues that
  succeeded recently may fill the rest;
- a request without a response for a while is slow: it moves from the window to the slow pool, several times as large, of which
  one tenant may fill a quarter; then it starts nothing more until one of them ends;
- a recovering endpoint is ramped up over time;
- one tenant's requests to one host have limits, however many endpoints it has there; see `destinations`;
- a queue that is suspected of crashing engines runs alone; see `crash_isolation`.

All times here are monotonic seconds. Thread-safe.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from functools import partial

from webhooks_app.engine.crash_isolation import CrashIsolation
from webhooks_app.engine.destinations import Destinations
from webhooks_app.engine.in_flight import InFlight
from webhooks_app.engine.lease_capacity import free_capacity
from webhooks_app.engine.leased_queue import LeasedQueue
from webhooks_app.engine.leased_queues import LeasedQueues
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.sql.types import LeaseCapacity, QueueClass
from webhooks_app.engine.token_places import TokenPlaces
from webhooks_app.engine.turns import RequestTurns, TenantShare, TenantShares
from webhooks_app.engine.types import EndpointConfig, QueuedDelivery

#: A window that has shrunk for lack of descriptors or threads grows by one request after this many that ended well.
_GROWS_AFTER = 20
_SMALLEST = 4


class Window(LeasedQueues):
    """The queues that an engine has leased and the requests that it has in flight."""

    def __init__(self, options: EngineOptions, capacity: int) -> None:
        super().__init__()
        self._options = options
        #: `capacity`: how many concurrent requests the transport supports. Most of it is for slow ones.
        self._size = self._full_size = max(min(options.window, capacity * 3 // 5), 1)
        slow_pool = min(options.slow_pool_windows * self._size, max(capacity - self._size, 0))
        self._tenant_share = max(round(self._size * options.tenant_share), 1)
        self._tenants = TenantShares()
        self._turns = RequestTurns()
        self._destinations = Destinations(options.host_in_flight, options.host_rate)
        self.token_places = TokenPlaces(self._destinations, self._lock)
        self._in_flight = InFlight(
            options, slow_pool, self._queues, self._tenants, self._destinations, self.token_places
        )
        self._crash_isolation = CrashIsolation(options.crash_isolation_seconds)
        self._successes = 0
        #: Whether requests to this endpoint must wait for a thread that builds them; set by the sending thread.
        self.waits_for_thread: Callable[[EndpointConfig], bool] = lambda config: False
        #: The earliest time at which a request that only had to wait can start.
        self._next_slot: float | None = None

    # --- called by the sending thread ------------------------------------------------------------------------------

    def start(self, now: float, limit: int) -> list[QueuedDelivery]:
        """Return up to `limit` deliveries to send now, and count them as in flight."""
        with self._lock:
            self._in_flight.move_slow_ones(now, self._size)
            self._next_slot = None
            started: list[QueuedDelivery] = []
            fruitless = 0
            while fruitless < len(self._turns) and len(started) < limit and self._in_flight.in_window < self._size:
                tenant = self._turns.next()
                delivery = self._start_one(tenant, now)
                waits = self._turns.end_turn(tenant)
                if delivery is not None:
                    fruitless = 0
                    started.append(delivery)
                elif waits:
                    fruitless += 1
            return started

    def finish(
        self,
        delivery: QueuedDelivery,
        *,
        succeeded_at: datetime | None,
        slowed: bool,
        hold_until: datetime | None,
        stop: bool,
        ramp_since: float | None = None,
    ) -> None:
        """Note that a request has ended. `slowed`: by a timeout or refused connection, which resets the queue's allowance.
        `ramp_since`: the endpoint has recovered, and is ramped up from this time on."""
        with self._lock:
            self._in_flight.end(delivery)
            queue = self._queues.get(delivery.endpoint_id)
            if queue is None:
                return
            queue.sending.failing = queue.health.consecutive_failures > 0
            if delivery.alone:
                queue.sending.isolated = False  # the engine has survived its request
                self._crash_isolation.end(queue)
            if ramp_since is not None:
                queue.sending.ramp_since = ramp_since
            if succeeded_at is not None:
                queue.sending.succeeded_at = succeeded_at
                self._note_success(queue)
            elif slowed:
                queue.sending.allowance = 1
            if hold_until or stop:
                queue.stop(hold_until)
            self._turns.enter(queue, self._tenants.of(queue))

    def abandon(self, delivery: QueuedDelivery, hold_until: datetime | None = None) -> None:
        """Return a delivery that was not started or whose end cannot be recorded. Its queue is released; it stays due."""
        with self._lock:
            self._in_flight.end(delivery)
            queue = self._queues.get(delivery.endpoint_id)
            if queue is not None:
                self._crash_isolation.end(queue)
                queue.sending.in_memory.discard(delivery.delivery_id)
                queue.stop(hold_until)

    def charge(self, queue: LeasedQueue, now: float, cost: float) -> None:
        """Pause the tenant, because its request took `cost` seconds to build. Others go first for four times as long."""
        with self._lock:
            tenant = self._tenants.of(queue)
            tenant.pauses_until = max(tenant.pauses_until, now + cost)
            tenant.yields_until = max(tenant.yields_until, now + 4 * cost)

    def pause(self, tenant_id: uuid.UUID) -> None:
        """Start nothing for this tenant as long as `tenant_pauses` says."""
        with self._lock:
            self._tenants.pause(tenant_id)

    def restart_crash_isolation(self, queue: LeasedQueue, now: float) -> None:
        """If the queue is suspected, start nothing else for a moment: its request took long to build, and is sent now."""
        with self._lock:
            if queue.sending.isolated:
                self._crash_isolation.begin(queue, now)

    def put_back(self, deliveries: Sequence[QueuedDelivery]) -> None:
        """Put back deliveries that `start` returned but that were not started; they get another turn."""
        with self._lock:
            for delivery in reversed(deliveries):
                since = delivery.in_flight_since or 0.0
                if delivery.destination is not None:
                    self._destinations.undo(delivery.destination)
                self._in_flight.end(delivery)
                queue = self._queues.get(delivery.endpoint_id)
                if queue is None:
                    continue
                self._crash_isolation.end(queue)
                if queue.sending.stopping:
                    queue.sending.in_memory.discard(delivery.delivery_id)
                    continue
                if rate := queue.rate(since):
                    queue.sending.next_slot -= 1 / rate
                queue.sending.ready.appendleft(delivery)
                self._turns.enter(queue, self._tenants.of(queue))

    def shrink(self) -> None:
        """Allow fewer requests in flight, because the process has run out of descriptors or threads."""
        with self._lock:
            self._size = max(self._in_flight.in_window * 3 // 4, _SMALLEST)
            self._successes = 0

    @property
    def in_flight(self) -> int:
        return self._in_flight.in_window + self._in_flight.slow

    def earliest_slot(self) -> float | None:
        """Return the earliest time at which a request that the last `start` held back only for a rate limit can start."""
        return self._next_slot

    # --- called by the database thread -----------------------------------------------------------------------------

    def add_deliveries(self, queue: LeasedQueue, deliveries: Collection[QueuedDelivery]) -> None:
        """Add deliveries that were read for a queue. They are ignored if the queue was stopped or lost meanwhile."""
        with self._lock:
            if queue.sending.stopping or self._queues.get(queue.endpoint_id) is not queue:
                return
            queue.sending.ready.extend(deliveries)
            queue.sending.in_memory.update(delivery.delivery_id for delivery in deliveries)
            self._turns.enter(queue, self._tenants.of(queue))

    def isolate_suspect(self, queue: LeasedQueue) -> None:
        """Send the queue's next delivery with nothing else in flight."""
        with self._lock:
            queue.sending.isolated = True

    def take_finished(self, now: float) -> list[LeasedQueue]:
        """Remove and return the queues to release: nothing left to send, stopped, or leased long enough."""
        with self._lock:
            for queue in self._queues.values():
                if now - queue.leased_at > self._options.longest_lease and not queue.sending.stopping:
                    queue.stop()
                elif queue.sending.held_since is not None and not queue.sending.in_flight:
                    self._destinations.put_off(queue, now)
            done = [q for q in self._queues.values() if (q.reading.exhausted or q.sending.stopping) and q.empty]
            for queue in done:
                del self._queues[queue.endpoint_id]
                self._crash_isolation.end(queue)
            self._tenants.forget_idle(self._queues.values())
            self._destinations.forget_idle(self._queues.values(), now)
            return done

    def lease_capacity(self) -> dict[QueueClass, LeaseCapacity]:
        """Return how many more queues of each class may be leased; see `free_capacity`."""
        with self._lock:
            crowded = self._tenants.crowded(self._in_flight.tenant_slow)
            return free_capacity(
                self._queues.values(), self._full_size, self._options.max_leased_queues, self._tenant_share, crowded
            )

    def forget_in_flight(self) -> int:
        """Forget the requests in flight, which will get no response. Return their number."""
        with self._lock:
            for queue in self._queues.values():
                queue.stop()
            return self._in_flight.forget()

    @property
    def idle(self) -> bool:
        with self._lock:
            return not self._queues and not self.in_flight

    # --- under the lock --------------------------------------------------------------------------------------------

    def _start_one(self, tenant: TenantShare, now: float) -> QueuedDelivery | None:
        # Regardless of earlier successes: a tenant whose endpoints hang now must leave room for the others.
        most = self._size * 3 // 4 if len(self._turns) == 1 else self._size // 2
        in_flight = self._in_flight
        if tenant.in_window >= max(most, 1) or (in_flight.slow_pool and tenant.slow >= in_flight.tenant_slow):
            return None
        pause = tenant.yields_until if len(self._turns) > 1 else tenant.pauses_until
        if now < pause:
            self._look_again_at(tenant.pauses_until if now < tenant.pauses_until else pause)
            return None
        may_start = partial(self._may_start, now=now)
        queue = tenant.next_queue(may_start, without_success_too=tenant.without_success < self._tenant_share)
        return None if queue is None else self._begin(queue, tenant, now)

    def _may_start(self, queue: LeasedQueue, now: float) -> bool:
        state = queue.sending
        holding = self._destinations.holding(queue, now, fetches=self.token_places.is_needed(queue))
        if holding is None:
            state.held_since = state.held_by = None
        # An isolated queue waits until the window is empty; its half is empty then, too.
        counts_as_succeeded = state.has_succeeded or queue.trusted or state.isolated
        if not counts_as_succeeded and self._in_flight.without_success >= max(self._size // 2, 1):
            return False
        if queue.runs_host_code and self.waits_for_thread(queue.config):
            return False
        slot = state.next_slot - self._options.burst
        if now < slot and queue.rate(now):
            self._look_again_at(slot)
            return False
        if holding is not None:
            state.held_since = now if state.held_since is None else state.held_since
            state.held_by = holding
            free_at = self._destinations.free_at(holding)
            if free_at is not None:
                self._look_again_at(free_at)
            return False
        return not self._crash_isolation.holds_back(queue, self._in_flight.in_window, now)

    def _look_again_at(self, moment: float) -> None:
        self._next_slot = moment if self._next_slot is None else min(self._next_slot, moment)

    def _begin(self, queue: LeasedQueue, tenant: TenantShare, now: float) -> QueuedDelivery:
        state = queue.sending
        delivery = state.ready.popleft()
        self._in_flight.begin(delivery, queue, tenant, now)
        if state.isolated:
            self._crash_isolation.begin(queue, now)
        if rate := queue.rate(now):
            state.next_slot = max(state.next_slot, now) + 1 / rate
        return delivery

    def _note_success(self, queue: LeasedQueue) -> None:
        state = queue.sending
        if not state.has_succeeded:
            state.has_succeeded, state.ring = True, None
        state.probing = False
        state.allowance = min(state.allowance * 2, max(queue.cap, 1))
        if self._size < self._full_size:
            self._successes += 1
            if self._successes % _GROWS_AFTER == 0:
                self._size += 1
