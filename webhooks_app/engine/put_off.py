"""Results that wait for locks of other transactions, or apart from those of other tenants, until they are tried again. Used by
the database thread only.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import chain

from webhooks_app.database_errors import one_line
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.heartbeat import Heartbeat
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.pauses import Pauses
from webhooks_app.engine.types import Result
from webhooks_app.engine.window import Window
from webhooks_app.telemetry.logs import log_ids

#: Of the results that may wait for locks, the shares (in total, and of one queue) from which on their queues are held. Below
#: that nothing is held: most locks are short, and a locked table affects every endpoint.
_CROWDED = 0.5
_SHARE_OF_ONE = 0.125
#: The longest pause (seconds) of a tenant whose results wait apart.
_LONGEST_APART = 1.0
#: Into how many parts a batch of several tenants is divided. Halves need three times as many timeouts to find the one tenant
#: that is the cause, and a part for each tenant needs as many transactions as there are tenants.
_PARTS = 8


class PutOff:
    """Results that are put off: together if rows of the app's are locked, because the engine can leave those out of a batch;
    apart, by tenant, if it cannot see what is locked, or if the database refuses some of them, because every batch with other
    results would fail.
    """

    def __init__(
        self, window: Window, heartbeat: Heartbeat, options: EngineOptions, faults: FaultLog, most: int
    ) -> None:
        """`most`: how many results may wait together, and be tried at once."""
        self._window = window
        self._heartbeat = heartbeat
        self._faults = faults
        self._busy_pause = options.busy_pause
        self._limit = most
        self._most = min(most, options.window * options.unrecorded_windows)
        self._together: list[Result] = []
        #: When those are tried again (monotonic).
        self._again_at = 0.0
        #: Parts of batches that timed out, to try next, in this order: any of them may need what is locked.
        self._parts: deque[list[Result]] = deque()
        #: The batches of tenants that wait apart, least recently tried tenant first. No list of batches is empty.
        self._apart: dict[uuid.UUID, deque[list[Result]]] = {}
        self._pauses = Pauses(longest=_LONGEST_APART)

    def __iter__(self) -> Iterator[Result]:
        return chain(self._together, *self._parts, *chain.from_iterable(self._apart.values()))

    def __len__(self) -> int:
        return len(self._together) + sum(map(len, chain(self._parts, *self._apart.values())))

    @property
    def is_full(self) -> bool:
        """Return whether to write no new results yet. Results that wait apart do not count: others must not wait for them."""
        return bool(self._parts) or len(self._together) >= self._limit

    def put(self, results: Sequence[Result]) -> None:
        if not results:
            return
        if not self._together:  # otherwise new results would put off the waiting ones forever
            self._again_at = time.monotonic() + self._busy_pause
        self._together.extend(results)
        self._hold_queues(results, self._busy_pause)

    def put_apart(self, batch: list[Result], error: Exception) -> None:
        """Put off a batch that timed out although locked rows of the app's were left out of it. Results of several tenants are
        divided, and tried again in parts; those of one tenant pause, longer each time."""
        tenants: dict[uuid.UUID, list[Result]] = {}
        for result in batch:
            tenants.setdefault(result.config.tenant_id, []).append(result)
        if len(tenants) > 1:
            lists = list(tenants.values())
            self._parts.extend(list(chain(*lists[first::_PARTS])) for first in range(min(_PARTS, len(lists))))
            return
        (tenant_id,) = tenants
        self.pause(batch)
        self._faults.report(
            "record lock",
            "the results of tenant %s wait for a lock, which is not on a row of this app's, but on a table, or on a row that "
            "a trigger of the host's changes: %s",
            tenant_id,
            one_line(error),
            level=logging.WARNING,
            ids=log_ids(tenant=tenant_id),
        )

    def pause(self, batch: list[Result]) -> None:
        """Put off a batch of one tenant, and all that waits apart of this tenant, longer each time."""
        tenant_id = batch[0].config.tenant_id
        self._apart.setdefault(tenant_id, deque()).appendleft(batch)
        self._pauses.put(tenant_id)
        self._hold_queues(batch, _LONGEST_APART)

    def separate(
        self, tenant_id: uuid.UUID, parts: Sequence[list[Result]], batches: Iterable[list[Result]]
    ) -> Iterator[list[Result]]:
        """Put off the `parts` of a refused batch of this tenant, and its results in `batches`, until the next `take_part`. Return
        what is left of the batches."""
        self._apart.setdefault(tenant_id, deque()).extendleft(reversed(parts))
        left = [self.keep_apart(batch) for batch in batches]
        if not self._apart[tenant_id]:
            del self._apart[tenant_id]
        return filter(None, left)

    def keep_apart(self, results: Sequence[Result]) -> list[Result]:
        """Put off those of tenants whose results wait apart. Return the others."""
        waiting = [result for result in results if result.config.tenant_id in self._apart]
        if not waiting:
            return list(results)
        for result in waiting:
            batches = self._apart[result.config.tenant_id]
            # The first batch does not grow: the smaller it is, the sooner the refused result in it is found.
            if len(batches) < 2 or len(batches[-1]) >= self._limit:
                batches.append([])
            batches[-1].append(result)
        self._hold_queues(waiting, _LONGEST_APART)
        return [result for result in results if result.config.tenant_id not in self._apart]

    def rejoin(self, tenants: Collection[uuid.UUID]) -> list[list[Result]]:
        """Remove the results of these tenants that wait apart, and return them in batches of several tenants."""
        batches = chain.from_iterable(self._apart.pop(key, ()) for key in tenants)
        results = list(chain.from_iterable(batches))
        return [results[first : first + self._limit] for first in range(0, len(results), self._limit)]

    def take_due(self) -> list[Result]:
        """Remove and return the results that waited together, if it is time to try them again."""
        if time.monotonic() < self._again_at:
            return []
        due, self._together = self._together, []
        return due

    def take_part(self) -> list[Result]:
        """Remove and return the part of a batch that is next, or results of a tenant whose pause is over; empty if there are
        none."""
        if self._parts:
            return self._parts.popleft()
        paused = self._pauses.active()
        tenant_id = next((key for key in self._apart if key not in paused), None)
        if tenant_id is None:
            return []
        batches = self._apart.pop(tenant_id)
        part = batches.popleft()
        if batches:
            self._apart[tenant_id] = batches
        return part

    def _hold_queues(self, results: Sequence[Result], pause: float) -> None:
        """Let queues with too many waiting results send nothing until those are tried again, after `pause` seconds at most."""
        waiting = Counter(result.delivery.endpoint_id for result in self)
        crowded = len(self) >= self._most * _CROWDED
        until = self._heartbeat.now() + timedelta(seconds=pause + self._busy_pause)  # beyond the next try
        for endpoint_id in {result.delivery.endpoint_id for result in results}:
            if crowded or waiting[endpoint_id] >= self._most * _SHARE_OF_ONE:
                self._window.hold(endpoint_id, until)
