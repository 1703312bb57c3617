"""Room: how many more queues of each class an engine may lease."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable

from webhooks_app.engine.leased_queue import LeasedQueue
from webhooks_app.engine.sql.types import QueueClass, Room


def free_room(
    queues: Iterable[LeasedQueue], size: int, max_leased: int, share: int, crowded: frozenset[uuid.UUID]
) -> dict[QueueClass, Room]:
    """Return how many more queues of each class may be leased, of which tenants none, and of any one tenant how many.

    `size`: of the window. `share`: queues without a success of one tenant. `crowded`: tenants whose slow requests are at
    their limit. Queues that succeeded under their lease count against `max_leased` only, and what hangs against nothing.
    """
    waiting: Counter[QueueClass] = Counter()
    of_tenant: Counter[uuid.UUID] = Counter()
    waiting_of_tenant: Counter[uuid.UUID] = Counter()
    failing_of_tenant: Counter[uuid.UUID] = Counter()
    proven = 0
    for queue in queues:
        of_tenant[queue.config.tenant_id] += 1
        if queue.sending.proven:
            proven += 1
        elif not queue.sending.hangs:
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
        max_leased - proven,
    )
    failing = max(size // 4, 1) - waiting[QueueClass.FAILING]
    failing_share = max(size // 8, 1)  # or one tenant could have all of that
    full_of_failing = full.union(key for key, count in failing_of_tenant.items() if count >= failing_share)
    return {
        QueueClass.TRUSTED: Room(max(free, 0), full, share),
        QueueClass.NEW: Room(max(min(free, half - waiting[QueueClass.NEW]), 0), full, share),
        QueueClass.FAILING: Room(max(failing, 0), full_of_failing, min(share, failing_share)),
        QueueClass.SUSPECTED: Room(0 if waiting[QueueClass.SUSPECTED] else 1, frozenset(), 1),
    }
