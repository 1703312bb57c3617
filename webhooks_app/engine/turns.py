"""Turns: tenants take turns to start requests, and so do the queues of one tenant. Used under the window's lock."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from webhooks_app.engine.leased_queue import LeasedQueue
from webhooks_app.engine.tenant_pauses import tenant_pauses


@dataclass(slots=True, eq=False)
class TenantShare:
    """The requests in flight of one tenant, and its queues with something to start."""

    #: By whether they have succeeded under their lease. An entry is stale if the queue's `ring` differs.
    rings: dict[bool, deque[LeasedQueue]] = field(default_factory=lambda: {True: deque(), False: deque()})
    #: Requests in the window; those among them from queues without a success; and requests in the slow pool.
    in_window: int = 0
    without_success: int = 0
    slow: int = 0
    waits_for_turn: bool = False
    #: Until then (monotonic) it starts nothing, or nothing while others wait: its requests were expensive to build, or made
    #: the sending thread stuck.
    pauses_until: float = 0.0
    yields_until: float = 0.0
    succeeded_first: bool = True

    @property
    def busy(self) -> bool:
        return bool(self.in_window or self.slow or self.waits_for_turn)

    def next_queue(self, may_start: Callable[[LeasedQueue], bool], *, without_success_too: bool) -> LeasedQueue | None:
        """Return the queue that starts the tenant's next request: those with and without a success take turns."""
        for succeeded in (self.succeeded_first, not self.succeeded_first):
            if succeeded or without_success_too:
                queue = self._next_of(succeeded, may_start)
                if queue is not None:
                    self.succeeded_first = not succeeded
                    return queue
        return None

    def _next_of(self, succeeded: bool, may_start: Callable[[LeasedQueue], bool]) -> LeasedQueue | None:
        ring = self.rings[succeeded]
        for _ in range(len(ring)):
            queue = ring[0]
            stale = queue.sending.ring is not succeeded
            if stale or not queue.has_startable:
                ring.popleft()
                if not stale:
                    queue.sending.ring = None
                continue
            ring.rotate(-1)
            if may_start(queue):
                return queue
        return None


class TenantShares:
    """The shares of the tenants that have queues here, or requests in flight."""

    def __init__(self) -> None:
        self._shares: dict[uuid.UUID, TenantShare] = {}

    def of(self, queue: LeasedQueue) -> TenantShare:
        share = self._shares.get(queue.config.tenant_id)
        if share is None:
            share = self._shares[queue.config.tenant_id] = TenantShare()
            self.pause(queue.config.tenant_id)
        return share

    def pause(self, tenant_id: uuid.UUID) -> None:
        """Let the tenant pause if one of its receivers has lately kept this process busy."""
        share, until = self._shares.get(tenant_id), tenant_pauses.until(tenant_id)
        if share is not None and until > share.pauses_until:
            share.pauses_until = share.yields_until = until

    def crowded(self, most_slow: int) -> frozenset[uuid.UUID]:
        """Return the tenants with at least `most_slow` slow requests."""
        return frozenset(key for key, share in self._shares.items() if share.slow >= most_slow)

    def forget_idle(self, queues: Collection[LeasedQueue]) -> None:
        """Forget tenants without queues and requests, once there are many of them."""
        if len(self._shares) > 2 * len(queues) + 64:
            held = {queue.config.tenant_id for queue in queues}
            self._shares = {key: share for key, share in self._shares.items() if key in held or share.busy}


class RequestTurns:
    """The tenants that have something to start, in turn."""

    def __init__(self) -> None:
        self._tenants: deque[TenantShare] = deque()

    def __len__(self) -> int:
        return len(self._tenants)

    def enter(self, queue: LeasedQueue, tenant: TenantShare) -> None:
        """Enqueue the queue for its turn, if it has something to start."""
        state = queue.sending
        if state.ring is not None or not queue.has_startable:
            return
        state.ring = state.has_succeeded
        tenant.rings[state.has_succeeded].append(queue)
        if not tenant.waits_for_turn:
            tenant.waits_for_turn = True
            self._tenants.append(tenant)

    def next(self) -> TenantShare:
        return self._tenants[0]

    def end_turn(self, tenant: TenantShare) -> bool:
        """Move the tenant that `next` returned to the end, or remove it if it has nothing to start. Return whether it stays."""
        tenant.waits_for_turn = bool(tenant.rings[True] or tenant.rings[False])
        if tenant.waits_for_turn:
            self._tenants.rotate(-1)
        else:
            self._tenants.popleft()
        return tenant.waits_for_turn
