"""End this process if none of its threads gets the interpreter any more.

Code that keeps it, such as a regular expression that backtracks for hours, stops all threads at once: no heartbeat, no log, no
time limit. The engine that takes over the queues would freeze at the same delivery. Only a thread of C, such as
faulthandler's, can notice. Other engines then find the cause, see `crash_guard`.
"""

from __future__ import annotations

import contextlib
import faulthandler
import sys
import threading

from webhooks_app.log_thread import EngineThread, engine_logger

logger = engine_logger(__name__)

#: What faulthandler raises if there is no standard error.
_NO_FILE = (AttributeError, OSError, RuntimeError, ValueError)
#: faulthandler has one timer per process: the last of these watches cancels it.
_watches: set[FreezeWatch] = set()
_lock = threading.Lock()


class FreezeWatch:
    """Ends the process, with the stacks of its threads on standard error, if no Python code ran for some time.

    The timer is renewed on a thread that waits for nothing else: a database that does not answer is no freeze. A timer that the
    host has set with faulthandler is replaced.
    """

    def __init__(self, seconds: float | None) -> None:
        """`seconds`: after which to end the process; None: never, since the process does more than to deliver."""
        self._seconds = seconds
        self._ended = threading.Event()

    def start(self) -> None:
        if self._seconds is None:
            return
        with _lock:
            _watches.add(self)
        try:
            EngineThread(self._run, "webhooks-freeze-watch").start()
        except (RuntimeError, MemoryError) as error:  # "can't start new thread"
            self.end()
            logger.error("webhooks: nothing watches whether this process freezes: %s", error)

    def end(self) -> None:
        self._ended.set()
        with _lock:
            if self in _watches:
                _watches.discard(self)
                if not _watches:
                    faulthandler.cancel_dump_traceback_later()

    def _run(self) -> None:
        assert self._seconds is not None  # or it was not started
        while True:
            with _lock:  # so that the last watch does not cancel the timer just before it is set again
                if self not in _watches:
                    return
                with contextlib.suppress(*_NO_FILE):
                    faulthandler.dump_traceback_later(self._seconds, exit=True, file=sys.__stderr__ or sys.stderr)
            self._ended.wait(self._seconds / 5)
