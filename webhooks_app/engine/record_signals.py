"""Send the public signals of recorded batches on a separate thread, because receivers of the host may be slow or never return."""

from __future__ import annotations

import os
import queue
import threading
import time

from django.db import connections

from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.recorded_batch import Call, RecordedBatch, signals_of
from webhooks_app.log_thread import EngineThread, call_in_forked_children, end_if_forked, engine_logger

logger = engine_logger(__name__)

#: The maximum number of signals that wait for slow receivers; further ones are not sent.
_MOST_WAITING = 10_000
#: The maximum number of threads in a process that outlive their engine, because a receiver has not returned. Each may keep a
#: connection: a pool of 8 has room for two beside an engine, its successor and housekeeping.
_MOST_LEFT = 2
#: A receiver that has not returned after this time (seconds) is stuck.
_STUCK_AFTER = 30.0
_ADVICE = "Set timeouts for what receivers call, or let them start a task, and restart the process"


class SignalThread:
    """Sends signals, in order. The thread starts with the first one.

    The queue is small and bounded: it holds the signals' arguments, no responses and no bodies.
    """

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ended = False
        #: Since when (monotonic) the current call lasts; None: there is none.
        self._since: float | None = None

    def announce(self, batch: RecordedBatch) -> None:
        """Send the signals of a batch soon. Returns at once."""
        if batch.has_listeners:
            self._put(signals_of(batch))

    def send(self, call: Call) -> None:
        """Run this call, which sends a signal, on the thread. Returns at once."""
        self._put([call])

    def end(self, timeout: float) -> None:
        """Send the waiting signals, for at most `timeout` seconds, and end the thread. It goes on where receivers are slow, but
        what waits for one that is stuck is dropped."""
        with self._lock:
            thread, self._ended = self._thread, True
        if thread is not None:
            self._waiting.put(None)
            thread.join(0 if self.is_stuck else timeout)
            _left.add(self)

    @property
    def is_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    @property
    def is_stuck(self) -> bool:
        """Return whether a receiver has not returned for a while."""
        since = self._since
        return since is not None and time.monotonic() - since > _STUCK_AFTER

    def drop(self) -> None:
        """Drop the waiting signals of a thread that is to end."""
        dropped = -1  # without what tells the thread to end
        try:
            while True:
                self._waiting.get_nowait()
                dropped += 1
        except queue.Empty:
            self._waiting.put(None)
        if dropped > 0:
            text = "a receiver of signals has not returned for %d s; %d signals are not sent. " + _ADVICE
            _faults.report("dropped signals", text, _STUCK_AFTER, dropped)

    def _put(self, calls: list[Call]) -> None:
        with self._lock:
            if self._ended:
                return
            waiting = self._waiting.qsize()
            if self.is_stuck:
                text = "a receiver of signals has not returned for %d s; %d signals wait. " + _ADVICE
                _faults.report("stuck signals", text, _STUCK_AFTER, waiting + len(calls))
            if waiting + len(calls) > _MOST_WAITING and waiting:
                _faults.report("signals", "receivers of its signals are too slow; %d signals are not sent", len(calls))
                return
            if not self.is_alive and not self._start(len(calls)):
                return
            for call in calls:
                self._waiting.put(call)

    def _start(self, number: int) -> bool:
        if not _left.has_room():
            text = "%d receivers of signals have not returned; %d signals are not sent. " + _ADVICE
            _faults.report("left signals", text, _MOST_LEFT, number)
            return False
        thread = EngineThread(self._run, "webhooks-signals")
        try:
            thread.start()
        except Exception as error:  # noqa: BLE001 - costs these signals, and not the recording; the next ones try again
            _faults.report(
                "signals thread", "no thread can be started for signals; %d signals are not sent", number, error=error
            )
            return False
        self._thread = thread
        return True

    def _run(self) -> None:
        try:
            while (call := self._waiting.get()) is not None:
                self._since = time.monotonic()
                self._make(call)
                # At once: what the receivers of the next signal emit must not be rolled back with a transaction that this one's
                # have left open, nor its locks last until all signals are through.
                self._make(_tidy_connections)
                self._since = None
        finally:
            self._since = None
            self._make(connections.close_all)

    @staticmethod
    def _make(call: Call) -> None:
        process = os.getpid()
        try:
            call()
            end_if_forked(process, None)
        except BaseException as error:  # a receiver that calls sys.exit ends neither this thread nor the engine
            end_if_forked(process, error)
            logger.exception("webhooks: a receiver of a signal failed, or what is cleaned up after it")


class _LeftThreads:
    """The threads of this process that have not ended with their engine. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads: list[SignalThread] = []

    def add(self, thread: SignalThread) -> None:
        with self._lock:
            self._threads.append(thread)
            self._look()

    def has_room(self) -> bool:
        """Return whether another thread may start."""
        with self._lock:
            self._look()
            return len(self._threads) < _MOST_LEFT

    def _look(self) -> None:
        """Forget the threads that have ended, and let stuck ones end as soon as their receiver returns."""
        self._threads = [thread for thread in self._threads if thread.is_alive]
        for thread in self._threads:
            if thread.is_stuck:
                thread.drop()


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


_left = _LeftThreads()
#: Of the process: an engine lives for a minute, and its successor has nothing new to say.
_faults = FaultLog()


def _forget_threads() -> None:
    global _left
    _left = _LeftThreads()


call_in_forked_children(_forget_threads)
