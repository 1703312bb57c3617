"""How many queues an engine may lease next, and the tenants that it skips because they were served by the last leases."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from webhooks_app.engine.lease_capacity import tenants_already_served
from webhooks_app.engine.leased_queue import LeasedQueue
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.pauses import Pauses
from webhooks_app.engine.sql import store_for
from webhooks_app.engine.sql.types import LeaseCapacity, QueueClass, Taken
from webhooks_app.engine.window import Window

#: How often to check classes from which nothing was leased (seconds).
_LOCKED_SECONDS = 0.25


class LeaseTurns:
    """The turns of the tenants in leasing. Used by the database thread only."""

    def __init__(self, using: str, window: Window, options: EngineOptions) -> None:
        self._store = store_for(using)
        self._window = window
        self._options = options
        #: Tenants whose queues were due but could not be leased.
        self._locked_tenants = Pauses(longest=1.0)
        #: Tenants with due queues, by class, where none was leased; and when (monotonic) to check again.
        self._seen_due: set[uuid.UUID] = set()
        self._look_for_locked_at = 0.0
        #: By class, the tenants that have had their share since the last turn of the others.
        self._already_served: dict[QueueClass, frozenset[uuid.UUID]] = dict.fromkeys(QueueClass, frozenset())
        #: The last capacity for which no queue was due, and until when (monotonic) that is remembered.
        self._no_use: dict[QueueClass, LeaseCapacity] = {}
        self._no_use_until = 0.0

    def capacity(self, *, gently: bool, refused: Collection[uuid.UUID], most: int) -> dict[QueueClass, LeaseCapacity]:
        """Return the lease capacity of each class, at most `most`. Tenants that have had their share of a class
        are skipped until the others have had theirs. `refused`: queues that cannot be leased."""
        options = self._options
        limit = min(options.leased_gently, most) if gently else most
        share = options.leased_gently_of_tenant if gently else options.max_leased_queues
        locked = self._locked_tenants.active()
        return {
            name: some.narrowed(
                limit=limit,
                share=share,
                full=locked.union(self._already_served[name] if _in_turn(name, gently=gently) else ()),
                refused=refused,
            )
            for name, some in self._window.lease_capacity().items()
        }

    def is_useless(self, capacity: Mapping[QueueClass, LeaseCapacity]) -> bool:
        """Return whether a moment ago no due queue fitted into the capacity, which has not grown since."""
        before = self._no_use
        return time.monotonic() < self._no_use_until and not any(
            some.admits_more(before[name]) for name, some in capacity.items()
        )

    def expect_due(self) -> None:
        self._no_use_until = 0.0

    def end_turn_of_others(self, capacity: Mapping[QueueClass, LeaseCapacity]) -> bool:
        """Start a new round for all tenants in the classes that had capacity, because the others have nothing due. Return whether
        any tenant was skipped in them."""
        ended = [name for name, some in capacity.items() if some.limit and self._already_served[name]]
        self._already_served.update(dict.fromkeys(ended, frozenset()))
        return bool(ended)

    def note_taken(self, taken: Sequence[Taken], now: datetime, capacity: Mapping[QueueClass, LeaseCapacity]) -> None:
        """Look for tenants whose queues are due and were not leased: one transaction may have locked all of the oldest. Give
        others their turn."""
        if taken:
            self._look_for_locked_ones(taken, now, capacity)
            return
        locked = self._store.due_tenants(now, capacity)
        for tenant_id in locked:
            self._locked_tenants.put(tenant_id)
        if not locked:
            self._no_use, self._no_use_until = dict(capacity), time.monotonic() + self._options.no_fit_pause

    def _look_for_locked_ones(
        self, taken: Sequence[Taken], now: datetime, capacity: Mapping[QueueClass, LeaseCapacity]
    ) -> None:
        """Find classes in which all examined queues are locked while others could be leased. This must be seen twice, because a
        queue may become due just after the others were leased."""
        if time.monotonic() < self._look_for_locked_at:
            return
        self._look_for_locked_at = time.monotonic() + _LOCKED_SECONDS
        classes = {row.queue_class(now) for row in taken}
        others = {name: some for name, some in capacity.items() if some.limit and name not in classes}
        found = self._store.due_tenants(now, others) if others else set()
        for tenant_id in found & self._seen_due:
            self._locked_tenants.put(tenant_id)
        self._seen_due = found

    def note_shares(
        self, queues: Sequence[LeasedQueue], capacity: Mapping[QueueClass, LeaseCapacity], *, gently: bool
    ) -> None:
        """Remember which tenants have had their share of each class."""
        for name, some in capacity.items():
            if _in_turn(name, gently=gently):
                leased = Counter(queue.config.tenant_id for queue in queues if queue.queue_class is name)
                self._already_served[name] = tenants_already_served(self._already_served[name], leased, some)
            else:
                self._already_served[name] = frozenset()


def _in_turn(name: QueueClass, *, gently: bool) -> bool:
    """Return whether tenants take turns in this class. Hanging queues occupy their place for long, so in those classes they
    always do. In other classes they do only while single deliveries wait, since skipping tenants costs a statement."""
    return gently or name in (QueueClass.FAILING, QueueClass.SUSPECTED)
