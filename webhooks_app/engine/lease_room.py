"""The room that an engine has for leases at the moment, and whom the next lease passes over: what the last ones have shown."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from webhooks_app.engine.leased_queue import LeasedQueue
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.pauses import Pauses
from webhooks_app.engine.sql import store_for
from webhooks_app.engine.sql.types import QueueClass, Room, Taken
from webhooks_app.engine.window import Window

#: How long the queues that are due are left alone where there was room for none of them, and there is no other room
#: (seconds). Looking costs as much as leasing, and while a tenant's endpoints hang it has some due all the time.
_NO_USE_SECONDS = 0.05
#: How often classes are looked at of which nothing was taken (seconds).
_LOCKED_SECONDS = 0.25


class LeaseRoom:
    """Used by the database thread only."""

    def __init__(self, using: str, window: Window, options: EngineOptions) -> None:
        self._store = store_for(using)
        self._window = window
        self._options = options
        #: Tenants whose queues were due and could not be leased.
        self._locked_tenants = Pauses(longest=1.0)
        #: Tenants of a class of which none was taken, though some are due; and when (monotonic) that is looked at again.
        self._seen_due: set[uuid.UUID] = set()
        self._look_for_locked_at = 0.0
        #: Tenants that have had their share of gentle leases since the others last had a turn of their own.
        self._had_their_share: set[uuid.UUID] = set()
        #: The last room for which no queue was due, and until when (monotonic) that is remembered.
        self._no_use: dict[QueueClass, Room] = {}
        self._no_use_until = 0.0

    def find(self, *, gently: bool, refused: Collection[uuid.UUID]) -> dict[QueueClass, Room]:
        """Return how much room there is for each class, and for whom. Gently, tenants with very many queues have one turn each,
        and then the others have theirs: else all that is looked at might belong to the same few. `refused`: queues that cannot be
        leased."""
        options = self._options
        limit = options.leased_gently if gently else options.max_leased_queues
        share = options.leased_gently_of_tenant if gently else options.max_leased_queues
        full = self._locked_tenants.active().union(self._had_their_share if gently else ())
        return {
            name: some.narrowed(limit=limit, share=share, full=full, refused=refused)
            for name, some in self._window.room().items()
        }

    def is_useless(self, room: Mapping[QueueClass, Room]) -> bool:
        """Whether a moment ago no queue was due that there was room for, and there is no other room now."""
        before = self._no_use
        return time.monotonic() < self._no_use_until and not any(
            some.admits_more(before[name]) for name, some in room.items()
        )

    def expect_due(self) -> None:
        self._no_use_until = 0.0

    @property
    def turn_of_others(self) -> bool:
        """Whether some tenants are passed over, since they have had their share."""
        return bool(self._had_their_share)

    def end_turn_of_others(self) -> None:
        self._had_their_share = set()

    def note_taken(self, taken: Sequence[Taken], now: datetime, room: Mapping[QueueClass, Room]) -> None:
        """Look for tenants whose queues are due and were not taken: one transaction may have locked all of the oldest. Let
        others have their turn."""
        if taken:
            self._look_for_locked_ones(taken, now, room)
            return
        locked = self._store.due_tenants(now, room)
        for tenant_id in locked:
            self._locked_tenants.put(tenant_id)
        if not locked:
            self._no_use, self._no_use_until = dict(room), time.monotonic() + _NO_USE_SECONDS

    def _look_for_locked_ones(self, taken: Sequence[Taken], now: datetime, room: Mapping[QueueClass, Room]) -> None:
        """All that is looked at of one class may be locked while others go on. Seen twice, since now and then a queue becomes
        due just after the others were taken."""
        if time.monotonic() < self._look_for_locked_at:
            return
        self._look_for_locked_at = time.monotonic() + _LOCKED_SECONDS
        classes = {row.queue_class(now) for row in taken}
        others = {name: some for name, some in room.items() if some.limit and name not in classes}
        found = self._store.due_tenants(now, others) if others else set()
        for tenant_id in found & self._seen_due:
            self._locked_tenants.put(tenant_id)
        self._seen_due = found

    def note_shares(self, queues: Sequence[LeasedQueue], room: Mapping[QueueClass, Room], *, gently: bool) -> None:
        """Remember which tenants have had their share. A turn in which none had was that of the others."""
        had = {key for name, some in room.items() for key in _large_ones(queues, name, some)} if gently else set()
        self._had_their_share = self._had_their_share | had if had else set()


def _large_ones(queues: Sequence[LeasedQueue], name: QueueClass, room: Room) -> set[uuid.UUID]:
    """Return the tenants that had half of what one could have, or more, where the room of this class did not suffice."""
    of_tenant = Counter(queue.config.tenant_id for queue in queues if queue.queue_class is name)
    if not of_tenant:
        return set()
    most = room.share
    if of_tenant.total() >= room.limit:
        most = min(most, room.limit // len(of_tenant))
    return {key for key, count in of_tenant.items() if 2 * count >= most}
