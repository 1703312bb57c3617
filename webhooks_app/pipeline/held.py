"""HeldQueue: what an engine remembers of one queue while it holds it."""

from __future__ import annotations

import uuid
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime

from webhooks_app.core.health import Health
from webhooks_app.pipeline.store.rows import POISON_SUSPECTED
from webhooks_app.pipeline.work import Job, Route


@dataclass(slots=True, eq=False)
class HeldQueue:
    """One queue while this engine holds it."""

    route: Route
    health: Health
    taken_at: float
    takeovers: int = 0
    #: Only one request (a probe) until it succeeds.
    probing: bool = False
    jobs: deque[Job] = field(default_factory=deque)
    #: Deliveries read and not yet recorded: a re-read must not take them twice.
    in_memory: set[uuid.UUID] = field(default_factory=set)
    in_flight: int = 0
    allowance: int = 1
    #: When its last request began (monotonic), and whether that one, its only one, was set aside as stalled.
    started_at: float = 0.0
    stalled: bool = False
    proven: bool = False
    #: Where the next read goes on: after this (next_attempt_at, id). None: from the start.
    cursor: tuple[datetime, uuid.UUID] | None = None
    dry: bool = False
    #: Starts nothing more; is given back when what is in flight has been recorded.
    stopping: bool = False
    #: Lost, paused or deleted: not ours to give back with a due time.
    lost: bool = False
    #: Give back with this `not_before`.
    hold_until: datetime | None = None
    succeeded_at: datetime | None = None
    #: Earliest monotonic time of the next start under the rate limit.
    next_slot: float = 0.0

    @property
    def endpoint_id(self) -> uuid.UUID:
        return self.route.endpoint_id

    @property
    def suspect(self) -> bool:
        return self.takeovers >= POISON_SUSPECTED

    @property
    def cap(self) -> int:
        return 1 if self.route.fifo or self.suspect or self.probing else self.route.max_in_flight

    @property
    def empty(self) -> bool:
        return not self.jobs and not self.in_memory

    def waits_since(self, began: float) -> bool:
        """Is the request that began then its only one in flight, and no success known that speaks for it?"""
        return self.in_flight == 1 and self.started_at == began and not (self.proven or self.stalled)

    def stop(self, hold_until: datetime | None = None) -> None:
        """Drop what was read ahead and start nothing more."""
        self.stopping = True
        self.in_memory.difference_update(job.delivery_id for job in self.jobs)
        self.jobs.clear()
        if hold_until and (self.hold_until is None or hold_until > self.hold_until):
            self.hold_until = hold_until

    def runs_low(self, ahead: int) -> bool:
        """Should more be read for it? `ahead`: the jobs that are read at once."""
        if self.suspect:
            # The next one is marked when it is read: never two at once.
            return not self.in_memory
        return len(self.jobs) <= (0 if self.cap == 1 else ahead // 2)
