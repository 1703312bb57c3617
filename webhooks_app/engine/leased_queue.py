"""LeasedQueue: an engine's state of one endpoint's queue while it holds the lease.

Two threads use one queue, so each part has an owner:

- `sending` belongs to the window: read and written under the window's lock only;
- `reading` belongs to the database thread;
- `health`, `build_faults` and `config.keys` belong to the sending thread; the database thread sees them in results.
"""

from __future__ import annotations

import uuid
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime

from webhooks_app.core.circuit_breaker import Health
from webhooks_app.core.ramp import ramp_rate
from webhooks_app.engine.destinations import Destination, host_and_port
from webhooks_app.engine.host_code import runs_host_code
from webhooks_app.engine.sql.types import SUSPECTED_FROM, QueueClass
from webhooks_app.engine.types import EndpointConfig, QueuedDelivery

#: Deliveries read at once for a queue without a recent success, until one succeeds under this lease: the queue starts with
#: one request, and if that fails or hangs, the others were read for nothing.
_AHEAD_WITHOUT_SUCCESS = 16


@dataclass(slots=True, eq=False)
class Sending:
    """The window's state of a queue. Guarded by the window's lock."""

    ready: deque[QueuedDelivery] = field(default_factory=deque)
    #: Deliveries read and not yet recorded: reading again must not add them twice.
    in_memory: set[uuid.UUID] = field(default_factory=set)
    in_flight: int = 0
    #: Of those, requests in the slow pool; and the bytes of all their bodies.
    slow: int = 0
    bytes_in_flight: int = 0
    #: The number of requests it may have in flight now; doubles with every success.
    allowance: int = 1
    #: Has succeeded under this lease.
    has_succeeded: bool = False
    #: Only one request (a probe) until it succeeds.
    probing: bool = False
    failing: bool = False
    #: Suspected of crashing engines: one request at a time, with nothing else in flight.
    isolated: bool = False
    #: Starts no new request; released once its requests in flight are recorded.
    stopping: bool = False
    #: Released with this `not_before`.
    hold_until: datetime | None = None
    succeeded_at: datetime | None = None
    #: Earliest monotonic time of the next start under the rate limit.
    next_slot: float = 0.0
    #: Since when (monotonic) a recovering endpoint is ramped up; None: no ramp.
    ramp_since: float | None = None
    #: Since when (monotonic) it could start a request but for the limits of its destination; None: it can, or has nothing.
    held_since: float | None = None
    held_by: Destination | None = None
    #: The ring of its tenant (of two) in which it waits for a turn; None: in neither.
    ring: bool | None = None

    @property
    def hangs(self) -> bool:
        """Return whether all its requests are slow, that is, have had no response for a while."""
        return 0 < self.in_flight == self.slow


@dataclass(slots=True, eq=False)
class Reading:
    """How far the database thread has read a queue."""

    #: The next read continues after this (next_attempt_at, id). None: from the start.
    cursor: tuple[datetime, uuid.UUID] | None = None
    #: The last read found fewer deliveries than its limit; nothing to read until new work or a recheck.
    exhausted: bool = False
    #: When it was last read (monotonic).
    read_at: float = 0.0
    #: The last read found deliveries that fail without a request; there may be many of these.
    found_late: bool = False


@dataclass(slots=True, eq=False)
class LeasedQueue:
    """One queue under this engine's lease."""

    config: EndpointConfig
    health: Health
    leased_at: float
    #: The engine's id at the time of the lease; an engine that was declared dead continues under a new id.
    engine_id: uuid.UUID | None = None
    crash_takeovers: int = 0
    #: It succeeded recently and has not failed since.
    trusted: bool = False
    #: Another engine holds it now, or it was paused or deleted: this engine must not release it.
    lost: bool = False
    #: Requests in a row that could not be built; counted by the sending thread.
    build_faults: int = 0
    #: Its requests are built on threads of their own; see `BuildThreads`.
    runs_host_code: bool = field(init=False)
    #: Where its URL leads to; see `Destinations`.
    host: str = field(init=False)
    #: Where its access tokens come from; empty: it needs none.
    token_host: str = field(init=False, default="")
    #: What its tenant sends to that host, once it has been looked up. Guarded by the window's lock.
    destination: Destination | None = field(init=False, default=None)
    sending: Sending = field(default_factory=Sending)
    reading: Reading = field(default_factory=Reading)

    def __post_init__(self) -> None:
        self.runs_host_code = runs_host_code(self.config.wire_format)
        self.host = host_and_port(self.config.url)
        authentication = self.config.authentication
        if authentication is not None and authentication.needs_token:
            self.token_host = host_and_port(authentication.values["token_url"])
        self.sending.failing = self.health.consecutive_failures > 0
        self.sending.isolated = self.crash_takeovers >= SUSPECTED_FROM

    @property
    def endpoint_id(self) -> uuid.UUID:
        return self.config.endpoint_id

    @property
    def cap(self) -> int:
        """The maximum number of requests in flight, regardless of the allowance."""
        state = self.sending
        return 1 if self.config.fifo or state.isolated or state.probing else self.config.max_in_flight

    @property
    def has_startable(self) -> bool:
        state = self.sending
        return bool(state.ready) and not state.stopping and state.in_flight < min(state.allowance, self.cap)

    @property
    def queue_class(self) -> QueueClass:
        state = self.sending
        if state.isolated:
            return QueueClass.SUSPECTED
        if state.failing:
            return QueueClass.FAILING
        return QueueClass.TRUSTED if self.trusted else QueueClass.NEW

    def rate(self, now: float) -> float | None:
        """Return how many requests per second it may start now; None: no limit."""
        limit = self.config.rate_limit
        if self.sending.ramp_since is None:
            return limit
        ramp = ramp_rate(now - self.sending.ramp_since)
        if ramp is None:
            self.sending.ramp_since = None
            return limit
        return min(limit, ramp) if limit else ramp

    @property
    def empty(self) -> bool:
        return not self.sending.ready and not self.sending.in_memory

    def stop(self, hold_until: datetime | None = None) -> None:
        """Drop what was read ahead and start nothing more."""
        state = self.sending
        state.stopping = True
        state.in_memory.difference_update(delivery.delivery_id for delivery in state.ready)
        state.ready.clear()
        if hold_until and (state.hold_until is None or hold_until > state.hold_until):
            state.hold_until = hold_until

    def portion(self, usual: int) -> int:
        """Return how many deliveries to read at once; `usual`: the number for a queue that succeeded recently."""
        answered_lately = self.sending.has_succeeded or (self.trusted and not self.sending.failing)
        if answered_lately or self.reading.found_late:
            return usual
        return min(usual, _AHEAD_WITHOUT_SUCCESS)

    def limit(self, usual: int) -> int:
        """Return the maximum number of rows to read for its portion. Reads from the start include deliveries in memory."""
        from_the_start = self.reading.cursor is None or self.config.fifo
        return self.portion(usual) + (len(self.sending.in_memory) if from_the_start else 0)

    def runs_low(self, usual: int) -> bool:
        """Return whether more should be read for it. `usual`: as for `portion`."""
        state = self.sending
        if state.isolated:
            # A delivery of an isolated queue is marked when it is read: never two at once.
            return not state.in_memory
        return len(state.ready) <= (0 if self.cap == 1 else self.portion(usual) // 2)
