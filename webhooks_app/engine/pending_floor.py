"""The lowest id from which an engine looks for pending events.

It is usually zero: every pending event is found by an index that contains only those. But while any transaction of the database
has an old snapshot (a backup, a report, a forgotten session), PostgreSQL cannot remove the index entries of events that were
fanned out since, and each look reads all of them: half a second for 200,000. Then the engines look only for events from the
floor on. A thread of its own looks for all of them now and then. It remembers the few that it finds below the floor. If there are
many, the floor goes down to the lowest.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import NamedTuple

from django.db import connections

from webhooks_app.engine.sql import store_for
from webhooks_app.log_thread import EngineThread, engine_logger
from webhooks_app.models.ids import first_id

logger = engine_logger(__name__)

#: A look that takes longer than this (seconds) is slow.
SLOW = 0.05
#: A look for all events uses at most this share of the time.
_SHARE = 0.02
#: Events of transactions that take no longer than this, and of servers whose clocks differ no more, are found at once; others by
#: the next look for all events.
_MARGIN = timedelta(seconds=10)
_NONE = uuid.UUID(int=0)
#: How many events may be pending below the floor: those that cannot be fanned out now, and late ones.
_MOST_BELOW = 100


class Floor(NamedTuple):
    """Events are looked for from `id` on, and those in `below`: the pending events with lower ids, with their tenants."""

    id: uuid.UUID = _NONE
    below: Mapping[uuid.UUID, uuid.UUID] = MappingProxyType({})


class PendingFloor:
    """The floor of one database, for all engines of the process. Thread-safe: the floor is replaced as a whole, so a step that
    reads it once cannot miss an event."""

    def __init__(self, using: str) -> None:
        self._using = using
        self.floor = Floor()
        self._next_look = 0.0
        self._lock = threading.Lock()

    @property
    def id(self) -> uuid.UUID:
        return self.floor.id

    @property
    def below(self) -> Mapping[uuid.UUID, uuid.UUID]:
        return self.floor.below

    def note_look(self, seconds: float, now: datetime) -> None:
        """Note how long a look for pending events took. `now`: by the database's clock."""
        if (seconds < SLOW and self.id == _NONE) or time.monotonic() < self._next_look:
            return
        if self._lock.acquire(blocking=False):
            try:
                EngineThread(lambda: self._look_for_all(now), "webhooks-pending-floor").start()
            except RuntimeError:  # the system starts no thread now
                self._lock.release()

    def forget_below(self, ids: Collection[uuid.UUID]) -> None:
        """Note that these events are not pending any more."""
        floor = self.floor
        left = {key: tenant_id for key, tenant_id in floor.below.items() if key not in ids}
        self.floor = floor._replace(below=left)

    def _look_for_all(self, now: datetime) -> None:
        began = time.monotonic()
        try:
            floor = first_id(now - _MARGIN)
            found = store_for(self._using).pending_below(floor, _MOST_BELOW + 1)
            took = time.monotonic() - began
            if took >= SLOW and self.id == _NONE:
                logger.warning(
                    "webhooks: looking for pending events took %.2f s. A transaction that is open for long keeps PostgreSQL from "
                    "cleaning its indexes: look for it in pg_stat_activity (backend_xmin) and end it",
                    took,
                )
            if took < SLOW:
                self.floor = Floor()
            elif len(found) <= _MOST_BELOW:
                self.floor = Floor(floor, found)
            else:
                self.floor = Floor(min(found))
        except Exception as error:  # noqa: BLE001 - it is tried again, and meanwhile the floor stays
            took = SLOW
            logger.warning("webhooks: the oldest pending events could not be read: %r", error)
        finally:
            connections.close_all()
            self._next_look = time.monotonic() + took / _SHARE
            self._lock.release()


_floors: dict[str, PendingFloor] = {}


def pending_floor(using: str) -> PendingFloor:
    """Return the floor of this database."""
    return _floors.setdefault(using, PendingFloor(using))
