"""The rolling window: which request starts next. Pure bookkeeping in memory, under one lock; no clock, no I/O.

Its rules are what keeps one bad endpoint from slowing the others down:

- a queue starts with one request in flight and doubles with every success, up to its cap; a time-out sets it back to one;
- queues without a success under this lease may fill at most half of the window, whatever they promise, and one that has
  not answered within a second is set aside: it has room of its own until it answers or times out;
- queues are served round-robin, one request each;
- a queue that took several engines down runs alone; see `solo`.

All times here are monotonic seconds.
"""

from __future__ import annotations

import threading
import uuid
from collections import deque
from collections.abc import Collection, Iterable
from datetime import datetime

from webhooks_app.pipeline.held import HeldQueue
from webhooks_app.pipeline.solo import Solo
from webhooks_app.pipeline.store.rows import QueueState
from webhooks_app.pipeline.work import Job

#: A first request that has had no answer for so long no longer counts in the window.
_STALLED_AFTER = 1.0
#: How far a rate-limited queue may run ahead of its even pace.
_BURST = 0.1


class Window:
    """The queues an engine holds and the requests it has in flight. Thread-safe."""

    def __init__(self, size: int, max_held: int, stalled_room: int = 0) -> None:
        self._size = size
        self._stalled_room = stalled_room
        self._max_held = max_held
        self._lock = threading.Lock()
        self._queues: dict[uuid.UUID, HeldQueue] = {}
        #: The queues that may have something to start, in round-robin order.
        self._ring: deque[HeldQueue] = deque()
        self._in_ring: set[uuid.UUID] = set()
        self._in_flight = 0
        self._unproven_in_flight = 0
        #: Unproven queues with a request in flight, by when it began; and how many of them are set aside.
        self._waiting: deque[tuple[float, HeldQueue]] = deque()
        self._stalled = 0
        self._solo = Solo()
        #: When the earliest of the starts that only a rate limit held back becomes possible.
        self._next_slot: float | None = None

    # --- asked by the sending thread -------------------------------------------------------------------------------

    def start(self, now: float, room: int) -> list[Job]:
        """Up to `room` jobs to send now; they count as in flight from here on."""
        with self._lock:
            self._set_stalled_aside(now)
            self._next_slot = None
            started: list[Job] = []
            passed = 0
            while self._ring and passed < len(self._ring) and len(started) < room and self._in_flight < self._size:
                queue = self._ring[0]
                if not self._has_startable(queue):
                    self._ring.popleft()
                    self._in_ring.discard(queue.endpoint_id)
                elif self._may_start(queue, now):
                    started.append(self._begin(queue, now))
                    self._ring.rotate(-1)
                    passed = 0
                else:
                    self._ring.rotate(-1)
                    passed += 1
            return started

    def finish(self, job: Job, *, succeeded: bool, slowed: bool, hold_until: datetime | None, stop: bool) -> None:
        """A request has ended. `slowed`: a time-out or refused connection, which sets the queue back to one in flight."""
        with self._lock:
            queue = self._queues.get(job.endpoint_id)
            if queue is None:
                return
            self._end(queue)
            if succeeded:
                self._prove(queue)
            elif slowed:
                queue.allowance = 1
            if hold_until or stop:
                queue.stop(hold_until)
            self._enter_ring(queue)

    def abandon(self, job: Job) -> None:
        """The job was not started after all. Its queue is given back; the delivery stays due for whoever takes it next."""
        with self._lock:
            queue = self._queues[job.endpoint_id]
            self._end(queue)
            queue.in_memory.discard(job.delivery_id)
            queue.stop()

    def queue_of(self, job: Job) -> HeldQueue | None:
        """The held queue that a job in flight belongs to. A queue stays until its last request has been recorded."""
        return self._queues.get(job.endpoint_id)

    @property
    def in_flight(self) -> int:
        return self._in_flight + self._stalled

    def earliest_slot(self) -> float | None:
        """When the next start becomes possible of those that the last `start` held back for their rate limit alone."""
        return self._next_slot

    # --- asked by the database thread ------------------------------------------------------------------------------

    def add(self, queues: Iterable[HeldQueue]) -> None:
        with self._lock:
            for queue in queues:
                self._queues[queue.endpoint_id] = queue

    def feed(self, queue: HeldQueue, jobs: Collection[Job]) -> None:
        """Jobs that were read for a queue. Ignored where the queue was stopped or lost meanwhile."""
        with self._lock:
            if queue.stopping or self._queues.get(queue.endpoint_id) is not queue:
                return
            queue.jobs.extend(jobs)
            queue.in_memory.update(job.delivery_id for job in jobs)
            self._enter_ring(queue)

    def hungry(self, ahead: int) -> list[HeldQueue]:
        """Queues that should be read for: fewer than half of `ahead` jobs left, and not known to be dry."""
        with self._lock:
            return [
                queue
                for queue in self._queues.values()
                if not queue.stopping and not queue.dry and queue.runs_low(ahead)
            ]

    def revive(self, endpoint_ids: Collection[uuid.UUID]) -> None:
        """There is new work for these queues, if they are held: read on for them. Without this, events for an endpoint with
        one slow request in flight would wait for that request."""
        with self._lock:
            for endpoint_id in endpoint_ids:
                queue = self._queues.get(endpoint_id)
                if queue is not None:
                    queue.dry = False

    def restart_dry(self) -> None:
        """Read once more from the start for the queues that have nothing to send but wait for requests in flight."""
        with self._lock:
            for queue in self._queues.values():
                if queue.dry and queue.in_flight and not queue.jobs and not queue.stopping:
                    queue.dry, queue.cursor = False, None

    def recorded(self, jobs: Iterable[Job]) -> None:
        """These deliveries are in the database; reading them again is harmless now."""
        with self._lock:
            for job in jobs:
                queue = self._queues.get(job.endpoint_id)
                if queue is not None:
                    queue.in_memory.discard(job.delivery_id)

    def take_finished(self, now: float, longest_hold: float) -> list[HeldQueue]:
        """Remove and return the queues that are to be given back: nothing left to send, stopped, or held long enough."""
        with self._lock:
            for queue in self._queues.values():
                if now - queue.taken_at > longest_hold and not queue.stopping:
                    queue.stop()
            done = [queue for queue in self._queues.values() if (queue.dry or queue.stopping) and queue.empty]
            for queue in done:
                del self._queues[queue.endpoint_id]
                self._solo.end(queue)
            return done

    def room(self) -> dict[QueueState, int]:
        """How many more queues of each kind may be taken.

        Queues without a success under this lease do not count against the limit of held ones, but have a limit of their
        own; those known to be failing get a quarter of the window, so that they cannot keep the healthy ones out; and only
        one suspected of crashing engines is held at a time.
        """
        with self._lock:
            proven = unproven = failing = 0
            suspect = False
            for queue in self._queues.values():
                proven += queue.proven
                unproven += not queue.proven and not queue.stalled
                failing += not queue.proven and queue.health.streak > 0 and not queue.stalled
                suspect = suspect or queue.suspect
            return {
                QueueState.HEALTHY: max(min(self._max_held - proven, self._size - (unproven - failing)), 0),
                QueueState.FAILING: max(max(self._size // 4, 1) - failing, 0),
                QueueState.SUSPECT: 0 if suspect else 1,
            }

    def drop(self, endpoint_ids: Collection[uuid.UUID], *, lost: bool) -> None:
        """These were paused, disabled, deleted or taken by another engine: forget what was read ahead."""
        with self._lock:
            for endpoint_id in endpoint_ids:
                queue = self._queues.get(endpoint_id)
                if queue is not None:
                    queue.stop()
                    queue.lost = queue.lost or lost

    def stop_all(self) -> None:
        """Give everything back as soon as what is in flight has ended."""
        with self._lock:
            for queue in self._queues.values():
                queue.stop()

    def abort(self) -> None:
        """The sending thread has failed: nothing in flight will be told of any more. Give everything back."""
        with self._lock:
            self._in_flight = self._unproven_in_flight = self._stalled = 0
            self._waiting.clear()
            for queue in self._queues.values():
                queue.stop()
                queue.in_flight = 0
                queue.in_memory.clear()

    def held(self) -> list[uuid.UUID]:
        with self._lock:
            return list(self._queues)

    def ours(self) -> list[uuid.UUID]:
        """Those held that were not found lost: their due times are this engine's to write, when it gives them back."""
        with self._lock:
            return [endpoint_id for endpoint_id, queue in self._queues.items() if not queue.lost]

    def prefetched_bytes(self) -> int:
        with self._lock:
            return sum(job.size for queue in self._queues.values() for job in queue.jobs)

    @property
    def idle(self) -> bool:
        with self._lock:
            return not self._queues and not self.in_flight

    # --- under the lock --------------------------------------------------------------------------------------------

    def _has_startable(self, queue: HeldQueue) -> bool:
        return bool(queue.jobs) and not queue.stopping and queue.in_flight < min(queue.allowance, queue.cap)

    def _may_start(self, queue: HeldQueue, now: float) -> bool:
        if self._solo.holds_back(queue, self.in_flight, now):
            return False
        if not queue.proven and self._unproven_in_flight >= max(self._size // 2, 1):
            return False
        slot = queue.next_slot - _BURST
        if queue.route.rate_limit and now < slot:
            self._next_slot = slot if self._next_slot is None else min(self._next_slot, slot)
            return False
        return True

    def _begin(self, queue: HeldQueue, now: float) -> Job:
        queue.in_flight += 1
        self._in_flight += 1
        queue.started_at = now
        if not queue.proven:
            self._unproven_in_flight += 1
            self._waiting.append((now, queue))
        if queue.suspect:
            self._solo.begin(queue, now)
        if queue.route.rate_limit:
            queue.next_slot = max(queue.next_slot, now) + 1 / queue.route.rate_limit
        return queue.jobs.popleft()

    def _set_stalled_aside(self, now: float) -> None:
        """A queue without a success has one request in flight. Where that hangs, it must not hold a place of the window
        until its time-out: as many such queues as half the window would stop everybody else."""
        while self._waiting and self._waiting[0][0] < now - _STALLED_AFTER and self._stalled < self._stalled_room:
            began, queue = self._waiting.popleft()
            if queue.waits_since(began) and not queue.suspect:
                queue.stalled = True
                self._stalled += 1
                self._in_flight -= 1
                self._unproven_in_flight -= 1

    def _end(self, queue: HeldQueue) -> None:
        queue.in_flight -= 1
        if queue.stalled:
            queue.stalled = False
            self._stalled -= 1
            return
        self._in_flight -= 1
        self._unproven_in_flight -= not queue.proven

    def _prove(self, queue: HeldQueue) -> None:
        if not queue.proven:
            # Its other requests in flight are the proven half's from now on.
            self._unproven_in_flight -= queue.in_flight
            queue.proven = True
        queue.probing = False
        queue.takeovers = 0
        self._solo.end(queue)
        queue.allowance = min(queue.allowance * 2, max(queue.cap, 1))

    def _enter_ring(self, queue: HeldQueue) -> None:
        if queue.endpoint_id not in self._in_ring and self._has_startable(queue):
            self._ring.append(queue)
            self._in_ring.add(queue.endpoint_id)
