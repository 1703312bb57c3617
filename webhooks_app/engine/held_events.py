"""Held events: each could not be fanned out, is left alone for a while, longer each time, and is then tried alone.

A held event goes into no batch until it was fanned out: it would make the batch fail, and cost the others their time.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Collection
from dataclasses import dataclass

from webhooks_app.engine.pauses import FIRST_PAUSE, LONGEST_PAUSE
from webhooks_app.models import Event

#: How many events one engine holds: each statement of its fan-out names them all. One more takes the place of another one.
_MOST_HELD = 2000
#: Of how many events a process remembers since when the database refuses them.
_MOST_REFUSED = 10_000


@dataclass(slots=True)
class _Held:
    tenant_id: uuid.UUID
    #: Until when (monotonic) it is left alone, and for how long in all (seconds).
    until: float
    pause: float


class HeldEvents:
    """The events that one fan-out holds. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._held: dict[uuid.UUID, _Held] = {}

    def put(self, event: Event) -> None:
        """Hold an event that has failed, for twice as long as the last time."""
        last = self._held.pop(event.id, None)
        pause = FIRST_PAUSE if last is None else min(last.pause * 2, LONGEST_PAUSE)
        if len(self._held) >= _MOST_HELD:
            # Another engine may have fanned it out: nothing here noticed that. If not, it fails and is held again.
            del self._held[min(self._held, key=lambda key: self._held[key].until)]
        self._held[event.id] = _Held(event.tenant_id, time.monotonic() + pause, pause)

    def forget(self, ids: Collection[uuid.UUID]) -> None:
        """Hold these no longer: they are fanned out."""
        if self._held:
            for key in ids:
                self._held.pop(key, None)

    def by_tenant(self) -> dict[uuid.UUID, set[uuid.UUID]]:
        """Return the ids of the held events, by tenant. Tenants without any are not in it."""
        found: dict[uuid.UUID, set[uuid.UUID]] = {}
        for key, held in self._held.items():
            found.setdefault(held.tenant_id, set()).add(key)
        return found

    def due(self, tenants: Collection[uuid.UUID]) -> list[uuid.UUID]:
        """Return the events of these tenants that may be tried again, the one that has waited longest first."""
        now = time.monotonic()
        due = [(held.until, key) for key, held in self._held.items() if held.until <= now and held.tenant_id in tenants]
        return [key for _, key in sorted(due)]


class Refusals:
    """Since when the database refuses the deliveries of an event. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: dict[uuid.UUID, float] = {}

    def seconds(self, event_id: uuid.UUID) -> float:
        """Note a refusal, and return how long ago the first one of this event was."""
        now = time.monotonic()
        with self._lock:
            since = self._since.setdefault(event_id, now)
            if len(self._since) > _MOST_REFUSED:
                del self._since[next(iter(self._since))]
        return now - since

    def forget(self, event_id: uuid.UUID) -> None:
        """Forget an event that was quarantined: where it is released, its time begins anew."""
        with self._lock:
            self._since.pop(event_id, None)


#: Of the whole process: Celery's engines live for some seconds where there is nothing to do but wait for a held event.
refusals = Refusals()
