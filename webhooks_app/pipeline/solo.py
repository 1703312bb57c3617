"""Solo: a queue that took several engines down runs alone, so that it takes no others with it."""

from __future__ import annotations

from webhooks_app.pipeline.held import HeldQueue

#: A crash comes at once or not at all; for longer than this nobody waits for a suspected queue's request (seconds).
LONGEST_ALONE = 2.0


class Solo:
    """Which queue is to be alone. Its request may hang, and so may those that it waits for: nobody waits for long."""

    def __init__(self) -> None:
        self._queue: HeldQueue | None = None
        #: Since when it has asked to be alone, or has had its request in flight (monotonic).
        self._since = 0.0

    def holds_back(self, queue: HeldQueue, in_flight: int, now: float) -> bool:
        """Must the queue not start a request now? A suspected one that has to wait for others keeps new ones from starting."""
        running = self._queue is not None and now - self._since < LONGEST_ALONE
        if running and queue is not self._queue:
            return True
        if not queue.suspect or not in_flight:
            return False
        if queue is not self._queue:
            self._queue, self._since = queue, now
            return True
        return running

    def begin(self, queue: HeldQueue, now: float) -> None:
        """A request of the suspected queue has started."""
        self._queue, self._since = queue, now

    def end(self, queue: HeldQueue) -> None:
        """The queue is suspected no more, or given back."""
        if queue is self._queue:
            self._queue = None
