"""InFlight: counts the requests in flight, and moves slow ones out of the window. Used under the window's lock.

Each request is in the window or in the pool of slow requests, and is counted there for the engine, its tenant and its queue; and
wherever it is, for its destination. For requests for access tokens see `token_places`.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Mapping

from webhooks_app.engine.destinations import Destinations
from webhooks_app.engine.leased_queue import LeasedQueue
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.token_places import TokenPlaces
from webhooks_app.engine.turns import TenantShare, TenantShares
from webhooks_app.engine.types import QueuedDelivery


class InFlight:
    """The requests in flight. All times are monotonic seconds."""

    def __init__(
        self,
        options: EngineOptions,
        slow_pool: int,
        queues: Mapping[uuid.UUID, LeasedQueue],
        tenants: TenantShares,
        destinations: Destinations,
        token_places: TokenPlaces,
    ) -> None:
        """`slow_pool`: how many slow requests there may be. `queues`: the leased ones, as they are at any time."""
        self._options = options
        self._queues = queues
        self._tenants = tenants
        self._destinations = destinations
        self._token_places = token_places
        self.slow_pool = slow_pool
        #: How many slow requests one tenant may have.
        self.tenant_slow = max(round(slow_pool * options.tenant_share), 1)
        #: Requests in the window; those among them from queues without a success; and requests in the slow pool.
        self.in_window = self.without_success = self.slow = 0
        #: All requests that may still become slow, oldest first.
        self._started: deque[QueuedDelivery] = deque()
        #: Those that stayed in the window although they are slow, oldest first; and whether a slow request has ended since.
        self._stayed: deque[QueuedDelivery] = deque()
        self._slow_pool_was_freed = False

    def begin(self, delivery: QueuedDelivery, queue: LeasedQueue, tenant: TenantShare, now: float) -> None:
        """Count a request that starts now. It is in the window."""
        state = queue.sending
        delivery.in_flight_since, delivery.slow, delivery.without_success = now, False, not state.has_succeeded
        state.in_flight += 1
        state.bytes_in_flight += delivery.size
        state.held_since = state.held_by = None
        delivery.destination = self._destinations.of(queue)
        self._destinations.begin(delivery.destination, now)
        self._token_places.reserve_if_needed(delivery, queue, now)
        self.in_window += 1
        tenant.in_window += 1
        if delivery.without_success:
            self.without_success += 1
            tenant.without_success += 1
        self._started.append(delivery)

    def end(self, delivery: QueuedDelivery) -> None:
        """Stop counting a request. Do nothing if the delivery is not in flight."""
        if delivery.in_flight_since is None:
            return
        delivery.in_flight_since = None
        if delivery.destination is not None:
            delivery.destination.end()
            delivery.destination = None
        self._token_places.release(delivery)
        queue = self._queues.get(delivery.endpoint_id)
        tenant = self._tenants.of(queue) if queue is not None else None
        if not delivery.slow:
            self._leave_window(delivery, tenant)
        else:
            self.slow -= 1
            self._slow_pool_was_freed = True
            if tenant is not None:
                tenant.slow -= 1
        if queue is not None:
            queue.sending.in_flight -= 1
            queue.sending.slow -= delivery.slow
            queue.sending.bytes_in_flight -= delivery.size

    def move_slow_ones(self, now: float, size: int) -> None:
        """Move requests without a response out of the window, which has room for `size`: otherwise they would block other
        tenants until they time out. If the tenant's share of the slow pool is full, they stay until there is room."""
        crowded = self.in_window * 4 > size * 3
        slow_after = self._options.slow_after_if_crowded if crowded else self._options.slow_after
        if self._slow_pool_was_freed:
            self._started.extendleft(reversed(self._stayed))
            self._stayed.clear()
            self._slow_pool_was_freed = False
        while self._started:
            delivery = self._started[0]
            since = delivery.in_flight_since
            if since is not None and since > now - slow_after:
                return
            self._started.popleft()
            queue = self._queues.get(delivery.endpoint_id)
            if since is None or delivery.slow or queue is None:
                continue
            tenant = self._tenants.of(queue)
            if self.slow >= self.slow_pool or tenant.slow >= self.tenant_slow:
                self._stayed.append(delivery)
                continue
            delivery.slow = True
            self.slow += 1
            tenant.slow += 1
            queue.sending.slow += 1
            self._leave_window(delivery, tenant)

    def forget(self) -> int:
        """Stop counting all requests, because none of them will get a response. Return their number."""
        forgotten = self.in_window + self.slow
        self.in_window = self.slow = self.without_success = 0
        self._started.clear()
        self._stayed.clear()
        self._destinations.forget_in_flight()
        for queue in self._queues.values():
            queue.sending.in_flight = queue.sending.bytes_in_flight = 0
        return forgotten

    def _leave_window(self, delivery: QueuedDelivery, tenant: TenantShare | None) -> None:
        self.in_window -= 1
        self.without_success -= delivery.without_success
        if tenant is not None:
            tenant.in_window -= 1
            tenant.without_success -= delivery.without_success
