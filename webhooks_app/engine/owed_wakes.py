"""OwedWakes: queues with new deliveries that could not be woken yet because their rows were locked."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from datetime import datetime

from webhooks_app.db import in_fresh_transaction, read
from webhooks_app.engine.create_deliveries import assign_missing_sequences
from webhooks_app.engine.pauses import Pauses
from webhooks_app.engine.queue_wakeup import wake_unlocked
from webhooks_app.models import EndpointQueue
from webhooks_app.models.lookups import any_of


class OwedWakes:
    """The queues that are still to be woken. Truthy while there are any. Used by the database thread only."""

    def __init__(self, using: str, lock_timeout: float) -> None:
        self._using = using
        self._lock_timeout = lock_timeout
        #: Queue → when its earliest new delivery was created.
        self.since: dict[uuid.UUID, datetime] = {}
        self._pauses = Pauses(longest=1.0)

    def __bool__(self) -> bool:
        return bool(self.since)

    def add(self, endpoint_ids: Collection[uuid.UUID], now: datetime) -> None:
        for endpoint_id in endpoint_ids:
            self.since.setdefault(endpoint_id, now)

    def wake(self) -> set[uuid.UUID]:
        """Wake the queues whose rows are no longer locked, and return them."""
        waiting = set(self.since) - self._pauses.active()
        if not waiting:
            return set()

        def wake_now() -> set[uuid.UUID]:
            # One time for all of them: too early is harmless, too late would delay deliveries.
            woken = wake_unlocked(waiting, min(self.since[key] for key in waiting), using=self._using)
            assign_missing_sequences(woken, self._using)
            return woken

        woken = in_fresh_transaction(wake_now, self._using, relaxed=True, lock_timeout=self._lock_timeout)
        rows = EndpointQueue.objects.using(self._using).filter(any_of("endpoint_id", waiting - woken))
        locked = read(lambda: set(rows.values_list("endpoint_id", flat=True)), self._using)
        for endpoint_id in waiting:
            if endpoint_id in locked:
                self._pauses.put(endpoint_id)
            else:  # woken, or pruned meanwhile
                del self.since[endpoint_id]
        return woken
