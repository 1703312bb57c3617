"""Send the public signals of recorded batches on a separate thread, because receivers of the host may be slow."""

from __future__ import annotations

import queue
import threading

from django.db import connections

from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.recorded_batch import Call, RecordedBatch, signals_of
from webhooks_app.log_thread import EngineThread, engine_logger

logger = engine_logger(__name__)

#: The maximum number of signals that wait for slow receivers; further ones are not sent.
_MOST_WAITING = 10_000


class SignalThread:
    """Sends signals, in order. The thread starts with the first one.

    The queue is small and bounded: it holds the signals' arguments, no responses and no bodies.
    """

    def __init__(self) -> None:
        self._waiting: queue.Queue[list[Call] | None] = queue.Queue()
        self._lock = threading.Lock()
        self._number = 0
        self._thread: threading.Thread | None = None
        self._ended = False
        self._faults = FaultLog()

    def announce(self, batch: RecordedBatch) -> None:
        """Send the signals of a batch soon. Returns at once."""
        if batch.has_listeners:
            self._put(signals_of(batch))

    def send(self, call: Call) -> None:
        """Run this call, which sends a signal, on the thread. Returns at once."""
        self._put([call])

    def end(self, timeout: float) -> None:
        """Send the waiting signals, for at most `timeout` seconds, and end the thread."""
        with self._lock:
            thread, self._ended = self._thread, True
        if thread is not None:
            self._waiting.put(None)
            thread.join(timeout)

    def _put(self, calls: list[Call]) -> None:
        with self._lock:
            if self._ended:
                return
            if self._number + len(calls) > _MOST_WAITING and self._number:
                self._faults.report(
                    "signals", "receivers of its signals are too slow; %d signals are not sent", len(calls)
                )
                return
            if (self._thread is None or not self._thread.is_alive()) and not self._start(len(calls)):
                return
            self._number += len(calls)
            self._waiting.put(calls)

    def _start(self, number: int) -> bool:
        thread = EngineThread(self._run, "webhooks-signals")
        try:
            thread.start()
        except Exception as error:  # noqa: BLE001 - costs these signals, and not the recording; the next ones try again
            self._faults.report(
                "signals thread", "no thread can be started for signals; %d signals are not sent", number, error=error
            )
            return False
        self._thread = thread
        return True

    def _run(self) -> None:
        try:
            while (calls := self._waiting.get()) is not None:
                try:
                    for call in calls:
                        self._make(call)
                        # At once: what the receivers of the next signal emit must not be rolled back with a transaction that
                        # this one's have left open, nor its locks last until a whole batch is through.
                        self._make(_tidy_connections)
                finally:
                    with self._lock:
                        self._number -= len(calls)
        finally:
            self._make(connections.close_all)

    @staticmethod
    def _make(call: Call) -> None:
        try:
            call()
        except BaseException:  # a receiver that calls sys.exit ends neither this thread nor the engine
            logger.exception("webhooks: a receiver of a signal failed, or what is cleaned up after it")


def _tidy_connections() -> None:
    """Clean up connections as Django does after a request. A receiver may have left a transaction open, whose locks would last
    as long as the engine; and if the server has closed a connection, every later receiver would fail."""
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block:
            connection.close()
            del connections[connection.alias]  # inside the block that nobody has left, it could not connect again
        elif connection.connection is not None:
            if not connection.get_autocommit():
                connection.close()
            if connection.errors_occurred:
                connection.close_if_unusable_or_obsolete()
