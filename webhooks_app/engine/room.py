"""Compute how many more queues of each class an engine may lease, and which tenants have had their share."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping

from webhooks_app.engine.leased_queue import LeasedQueue
from webhooks_app.engine.sql.types import QueueClass, Room

#: With this many tenants that have had their share, a new round starts, because the statements get the list of them.
_MOST_TENANTS = 1000


def free_room(
    queues: Iterable[LeasedQueue], size: int, max_leased: int, share: int, crowded: frozenset[uuid.UUID]
) -> dict[QueueClass, Room]:
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
        QueueClass.TRUSTED: Room(max(free, 0), full, share),
        QueueClass.NEW: Room(max(min(free, half - waiting[QueueClass.NEW]), 0), full, share),
        QueueClass.FAILING: Room(max(failing, 0), full_of_failing, min(share, failing_share)),
        # The one place is not for a tenant that could not start a request in it.
        QueueClass.SUSPECTED: Room(0 if waiting[QueueClass.SUSPECTED] else 1, crowded, 1),
    }


def had_share(before: frozenset[uuid.UUID], leased: Mapping[uuid.UUID, int], room: Room) -> frozenset[uuid.UUID]:
    """Return the tenants that have had their share of a class after a lease, so that the others go first.

    `before`: those that had it before. `leased`: how many queues of this class were just leased, by tenant. `room`: the room
    at that time. Without room, the others had no turn. A turn in which no tenant had a share ends the round, and a new one
    starts for all tenants.
    """
    if not room.limit:
        return before
    now = _large_ones(leased, room)
    return before | now if now and len(before) < _MOST_TENANTS else now


def _large_ones(leased: Mapping[uuid.UUID, int], room: Room) -> frozenset[uuid.UUID]:
    """Return the tenants that got at least half of a tenant's maximum, if there was not enough room for all."""
    if not leased:
        return frozenset()
    most = room.share
    total = sum(leased.values())
    if total >= room.limit:
        most = min(most, room.limit // len(leased))
    return frozenset(key for key, count in leased.items() if 2 * count >= most)
