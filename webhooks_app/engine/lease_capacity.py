"""Compute how many more queues of each class an engine may lease, and which tenants have had their share."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping

from webhooks_app.engine.leased_queue import LeasedQueue
from webhooks_app.engine.sql.types import LeaseCapacity, QueueClass

#: With this many tenants that have had their share, a new round starts, because the statements get the list of them.
_MOST_TENANTS = 1000


def free_capacity(
    queues: Iterable[LeasedQueue], size: int, max_leased: int, share: int, crowded: frozenset[uuid.UUID]
) -> dict[QueueClass, LeaseCapacity]:
    """Return for each class how many more queues may be leased, which tenants are excluded, and the maximum for one tenant.

    `size`: of the window. `share`: queues without a success of one tenant. `crowded`: tenants whose slow requests are at
    their limit. Queues that succeeded under their lease count against `max_leased` only; hanging queues do not count.
    """
    waiting: Counter[QueueClass] = Counter()
    of_tenant: Counter[uuid.UUID] = Counter()
    waiting_of_tenant: Counter[uuid.UUID] = Counter()
    failing_of_tenant: Counter[uuid.UUID] = Counter()
    succeeded = 0
    for queue in queues:
        of_tenant[queue.config.tenant_id] += 1
        if queue.sending.hangs:
            continue
        if queue.sending.has_succeeded:
            succeeded += 1
        else:
            waiting[queue.queue_class] += 1
            waiting_of_tenant[queue.config.tenant_id] += 1
            failing_of_tenant[queue.config.tenant_id] += queue.queue_class is QueueClass.FAILING
    half = max(size // 2, 1)
    most = max(max_leased // 2, 1)
    full = crowded.union(
        (key for key, count in waiting_of_tenant.items() if count >= share),
        (key for key, count in of_tenant.items() if count >= most),
    )
    free = min(
        size - waiting[QueueClass.TRUSTED] - min(waiting[QueueClass.NEW], half),
        max_leased - succeeded,
    )
    failing = max(size // 4, 1) - waiting[QueueClass.FAILING]
    failing_share = max(size // 8, 1)  # or one tenant could have all of that
    full_of_failing = full.union(key for key, count in failing_of_tenant.items() if count >= failing_share)
    return {
        QueueClass.TRUSTED: LeaseCapacity(max(free, 0), full, share),
        QueueClass.NEW: LeaseCapacity(max(min(free, half - waiting[QueueClass.NEW]), 0), full, share),
        QueueClass.FAILING: LeaseCapacity(max(failing, 0), full_of_failing, min(share, failing_share)),
        # The one place is not for a tenant that could not start a request in it.
        QueueClass.SUSPECTED: LeaseCapacity(0 if waiting[QueueClass.SUSPECTED] else 1, crowded, 1),
    }


def tenants_already_served(
    before: frozenset[uuid.UUID], leased: Mapping[uuid.UUID, int], capacity: LeaseCapacity
) -> frozenset[uuid.UUID]:
    """Return the tenants that have had their share of a class after a lease, so that the others go first.

    `before`: those that had it before. `leased`: how many queues of this class were just leased, by tenant. `capacity`: that
    of the lease. Without capacity, the others had no turn. A turn in which no tenant had a share ends the round, and a new one
    starts for all tenants.
    """
    if not capacity.limit:
        return before
    now = _large_ones(leased, capacity)
    return before | now if now and len(before) < _MOST_TENANTS else now


def _large_ones(leased: Mapping[uuid.UUID, int], capacity: LeaseCapacity) -> frozenset[uuid.UUID]:
    """Return the tenants that got at least half of a tenant's maximum, if there was not enough capacity for all."""
    if not leased:
        return frozenset()
    most = capacity.share
    total = sum(leased.values())
    if total >= capacity.limit:
        most = min(most, capacity.limit // len(leased))
    return frozenset(key for key, count in leased.items() if 2 * count >= most)
