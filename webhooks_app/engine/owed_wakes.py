"""OwedWakes: queues with new deliveries that the fan-out could not wake, because another transaction had locked their rows, or
because they are FIFO and deliveries have no sequence number yet."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection
from datetime import datetime
from functools import partial
from typing import TypeVar

from webhooks_app.database_errors import is_lock_timeout, is_outage, is_transient
from webhooks_app.db import divided, in_fresh_transaction, read
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.numbering import assign_missing_sequences, fifo_of
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.pauses import Pauses
from webhooks_app.engine.queue_due import make_unlocked_queues_due
from webhooks_app.engine.sql import store_for
from webhooks_app.models import EndpointQueue
from webhooks_app.models.ids import public_id
from webhooks_app.models.lookups import any_of

Result = TypeVar("Result")

#: How many queues one step wakes, and for how many of them it numbers deliveries: finding those without a number reads all that
#: are pending.
_QUEUES_AT_ONCE = 200
_NUMBERED_AT_ONCE = 4


class OwedWakes:
    """The queues that are still to be woken. Truthy while there are any. Used by the database thread only."""

    def __init__(self, using: str, options: EngineOptions, faults: FaultLog) -> None:
        self._using = using
        self._faults = faults
        self._seconds = options.one_by_one_seconds
        self._lock_timeout = options.lock_timeout
        #: How many deliveries one step numbers.
        self._deliveries_per_step = min(store_for(using).limits.deliveries, options.large_portion)
        #: Queue → when its earliest new delivery was created; the next one to wake first.
        self.since: dict[uuid.UUID, datetime] = {}
        self._pauses = Pauses(longest=1.0)
        #: Queues whose rows, or deliveries, the database refuses to change.
        self._refused = Pauses()

    def __bool__(self) -> bool:
        return bool(self.since)

    def add(self, endpoint_ids: Collection[uuid.UUID], now: datetime) -> None:
        for endpoint_id in endpoint_ids:
            self.since.setdefault(endpoint_id, now)

    def wake(self) -> set[uuid.UUID]:
        """Wake the next queues, as many as one step may, and return them. Those whose rows are locked are left for later, and so
        are FIFO queues until all their deliveries have numbers."""
        paused = self._pauses.active() | self._refused.active()
        waiting = [key for key in self.since if key not in paused][:_QUEUES_AT_ONCE]
        if not waiting:
            return set()
        woken: set[uuid.UUID] = set()
        in_order: set[uuid.UUID] = set()

        def wake_these(endpoint_ids: list[uuid.UUID]) -> None:
            those_woken, those_in_order = self._in_transaction(partial(self._wake, endpoint_ids))
            woken.update(those_woken)
            in_order.update(those_in_order)

        late = divided(wake_these, waiting, self._refuse, seconds=self._seconds)
        waiting = [key for key in waiting if key not in self._refused.active().union(late)]
        locked = self._existing(set(waiting) - woken)
        for endpoint_id in waiting:
            if endpoint_id in locked:
                self._pauses.put(endpoint_id)
            elif endpoint_id not in in_order:  # woken, or pruned meanwhile
                del self.since[endpoint_id]
        self._number([key for key in waiting if key in in_order][:_NUMBERED_AT_ONCE])
        return woken

    def _wake(self, endpoint_ids: Collection[uuid.UUID]) -> tuple[set[uuid.UUID], set[uuid.UUID]]:
        """Return the queues that were woken, and which of them are FIFO."""
        # One time for all of them: too early is harmless, too late would delay deliveries.
        woken = make_unlocked_queues_due(endpoint_ids, min(self.since[key] for key in endpoint_ids), using=self._using)
        return woken, fifo_of(woken, self._using)

    def _number(self, endpoint_ids: Collection[uuid.UUID]) -> None:
        """Number deliveries of these FIFO queues, each in a transaction of its own, until this step has numbered enough."""
        left = self._deliveries_per_step
        for endpoint_id in endpoint_ids:
            self.since[endpoint_id] = self.since.pop(endpoint_id)  # the others are tried before it is again
            try:
                numbered = self._in_transaction(partial(self._wake_numbered, endpoint_id, left))
            except Exception as error:
                if is_lock_timeout(error):
                    self._pauses.put(endpoint_id)
                    return  # waiting for more locks would delay everything else
                if is_outage(error) or is_transient(error):
                    raise
                self._refuse(endpoint_id, error)
                continue
            if numbered is None:
                self._pauses.put(endpoint_id)
                continue
            if numbered < left:
                del self.since[endpoint_id]
            left -= numbered
            if not left:
                return

    def _refuse(self, endpoint_id: uuid.UUID, error: Exception) -> None:
        self._refused.put(endpoint_id)
        name = public_id("wh", endpoint_id)
        message = "the queue of %s (or of others, too), which has new deliveries, cannot be made due"
        self._faults.report(f"owed wake {type(error).__name__}", message, name, error=error)

    def _wake_numbered(self, endpoint_id: uuid.UUID, most: int) -> int | None:
        """Wake a FIFO queue and number up to `most` of its deliveries; return how many, None if its row is locked."""
        # Once more: an engine that has leased the queue meanwhile found nothing with a number in it.
        if not make_unlocked_queues_due([endpoint_id], self.since[endpoint_id], using=self._using):
            return None
        return assign_missing_sequences(endpoint_id, self._using, most)

    def _existing(self, endpoint_ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
        rows = EndpointQueue.objects.using(self._using).filter(any_of("endpoint_id", endpoint_ids))
        return read(lambda: set(rows.values_list("endpoint_id", flat=True)), self._using)

    def _in_transaction(self, work: Callable[[], Result]) -> Result:
        return in_fresh_transaction(work, self._using, relaxed=True, lock_timeout=self._lock_timeout)
