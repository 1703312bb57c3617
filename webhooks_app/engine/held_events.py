"""Held events: events whose fan-out failed. Each is paused, longer each time, and then tried alone.

A held event is kept out of batches until it is fanned out, because it would make the whole batch fail. If one event after the
other of a tenant fails, as with an endpoint whose row cannot be evaluated, its next events would do the same: the tenant is
paused, too.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from webhooks_app.engine.pauses import FIRST_PAUSE, LONGEST_PAUSE, Pauses
from webhooks_app.engine.types import PendingEvent

#: For how many events a process remembers when the database first refused them.
_MOST_REFUSED = 10_000


@dataclass(slots=True)
class _Held:
    tenant_id: uuid.UUID
    #: Until when (monotonic) it is paused, and the length of this pause (seconds).
    until: float
    pause: float


class HeldEvents:
    """The events that one fan-out holds, at most `limit`: a further one replaces another. Times are monotonic seconds."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: dict[uuid.UUID, _Held] = {}
        #: Tenants whose events fail when they are tried for the first time, and tenants whose held events fail again. Not the
        #: same, so that an event that always fails does not keep back the new ones of its tenant.
        self._failing = Pauses(forgotten_after=LONGEST_PAUSE)
        self._failing_again = Pauses(forgotten_after=LONGEST_PAUSE)

    def put(self, event: PendingEvent, *, in_order: bool = False) -> bool:
        """Hold an event that failed, for twice as long as the last time. Return whether it was not held before.

        Its tenant is paused for the others of the same kind: a new event for new ones, a held event for held ones. `in_order`:
        for all of them, because nothing may overtake it."""
        last = self._held.pop(event.id, None)
        pause = FIRST_PAUSE if last is None else min(last.pause * 2, LONGEST_PAUSE)
        if len(self._held) >= self._limit:
            # Another engine may have fanned it out unnoticed. If not, it fails and is held again.
            del self._held[min(self._held, key=lambda key: self._held[key].until)]
        self._held[event.id] = _Held(event.tenant_id, time.monotonic() + pause, pause)
        pauses = self._failing if last is None or in_order else self._failing_again
        if event.tenant_id not in pauses.active():  # of the events of one turn several may fail
            pauses.put(event.tenant_id)
        return last is None

    def pause(self, tenant_id: uuid.UUID) -> None:
        """Pause a tenant whose events cannot even be read, longer each time."""
        self._failing.put(tenant_id)

    def paused_tenants(self) -> set[uuid.UUID]:
        """Return the tenants whose new events are not tried now."""
        return self._failing.active()

    def failing_tenants(self) -> set[uuid.UUID]:
        """Return the tenants whose last new event failed, as far as that is known. They are served apart from the others, whose
        batch would fail with theirs."""
        return self._failing.remembered()

    def last_pause(self, tenant_id: uuid.UUID) -> float:
        """Return when the tenant's last pause ended or will end (monotonic), 0.0 if it had none."""
        return self._failing.last(tenant_id)

    def note_fanned_out(self, events: Collection[PendingEvent]) -> None:
        """Stop holding these events, and end the pauses of their tenants: not all of their events fail."""
        self.forget([event.id for event in events])
        for tenant_id in {event.tenant_id for event in events}:
            self._failing.forget(tenant_id)
            self._failing_again.forget(tenant_id)

    def forget(self, ids: Collection[uuid.UUID]) -> None:
        """Stop holding these events, because they are not pending any more."""
        if self._held:
            for key in ids:
                self._held.pop(key, None)

    def by_tenant(self) -> dict[uuid.UUID, set[uuid.UUID]]:
        """Return the ids of the held events by tenant. Tenants without held events are left out."""
        found: dict[uuid.UUID, set[uuid.UUID]] = {}
        for key, held in self._held.items():
            found.setdefault(held.tenant_id, set()).add(key)
        return found

    def due(self, tenants: Collection[uuid.UUID]) -> list[uuid.UUID]:
        """Return the events of these tenants that may be tried again. Tenants take turns, the one whose event has waited longest
        first; of one tenant the event that has waited longest comes first."""
        now, tenants = time.monotonic(), set(tenants) - self._failing_again.active()
        due = [(held.until, key) for key, held in self._held.items() if held.until <= now and held.tenant_id in tenants]
        turns: Counter[uuid.UUID] = Counter()
        ordered: list[tuple[int, float, uuid.UUID]] = []
        for until, key in sorted(due):
            tenant_id = self._held[key].tenant_id
            ordered.append((turns[tenant_id], until, key))
            turns[tenant_id] += 1
        return [key for _, _, key in sorted(ordered)]

    def is_due(self, event: PendingEvent) -> bool:
        """Return whether the event is held and may be tried again now."""
        held = self._held.get(event.id)
        return held is not None and held.until <= time.monotonic()


class Refusals:
    """The times since when the database has refused the deliveries of an event. Thread-safe.

    After some time without a refusal the count restarts: another engine fanned the event out, or it was quarantined and released.
    """

    def __init__(self, limit: int = _MOST_REFUSED) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        #: When it was refused first and last (monotonic).
        self._times: dict[uuid.UUID, tuple[float, float]] = {}

    def seconds(self, event_id: uuid.UUID) -> float:
        """Record a refusal, and return the seconds since this event's first one."""
        now = time.monotonic()
        with self._lock:
            first, last = self._times.get(event_id, (now, now))
            if now - last > 2 * LONGEST_PAUSE:
                first = now
            self._times[event_id] = first, now
            if len(self._times) > self._limit:
                del self._times[next(iter(self._times))]
        return now - first

    def forget(self, event_id: uuid.UUID) -> None:
        """Forget an event that was quarantined: if it is released, its time starts again."""
        with self._lock:
            self._times.pop(event_id, None)


#: Shared by the process: a Celery engine ends within seconds if there is nothing to do but wait for a held event.
refusals = Refusals()
