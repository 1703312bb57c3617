"""Crash isolation: a queue that is suspected of crashing engines runs while no other request starts."""

from __future__ import annotations

from webhooks_app.engine.leased_queue import LeasedQueue


class CrashIsolation:
    """The queue of a window that is isolated; at most one at a time. All times are monotonic seconds.

    A delivery that crashes the engine does so at once, so a request is isolated for `seconds` only. To keep many suspected
    queues from stalling the engine, the others then have the window to themselves for twice as long, and for at least
    `seconds`: the end of a request is recorded before the next one could crash the engine.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._queue: LeasedQueue | None = None
        #: Since when it has waited to be alone, or has had its request in flight.
        self._since = 0.0
        #: For how long it had waited before its request started.
        self._waited = 0.0
        self._rest_until = 0.0
        #: The request has ended, and `holds_back` was not called since.
        self._just_ended = False

    def holds_back(self, queue: LeasedQueue, in_flight: int, now: float) -> bool:
        """Return whether the queue must not start a request now. `in_flight`: requests in the window, slow ones not counted.

        While an isolated queue waits for the others to end, no new ones start: ask only for a queue that could start but for
        this.
        """
        if self._just_ended:
            self._just_ended = False
            rest = max(2 * (self._waited + now - self._since), self._seconds)
            self._rest_until = min(self._rest_until, now + rest)
        active = self._queue is not None and now - self._since < self._seconds
        if active and queue is not self._queue:
            return True
        if not queue.sending.isolated:
            return False
        if queue is not self._queue:
            if now < self._rest_until:
                return True
            self._queue, self._since, self._waited = queue, now, 0.0
            self._rest_until = now + 4 * self._seconds
            return bool(in_flight)
        return active and bool(in_flight)

    def begin(self, queue: LeasedQueue, now: float) -> None:
        """Restart the time of the isolated queue: its request has started, or was built and is sent only now."""
        had = min(now - self._since, self._seconds) if queue is self._queue else 0.0
        self._queue, self._since, self._waited = queue, now, had
        self._just_ended = False
        self._rest_until = now + 3 * self._seconds + 2 * had

    def end(self, queue: LeasedQueue) -> None:
        """Note that the queue's request has ended or was not sent, or that the queue was released."""
        if queue is self._queue:
            self._queue, self._just_ended = None, True
