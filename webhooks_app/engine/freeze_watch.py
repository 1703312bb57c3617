"""End this process if none of its threads gets the interpreter any more.

Code that keeps it, such as a regular expression that backtracks for hours, stops all threads at once: no heartbeat, no log, no
time limit. The engine that takes over the queues would freeze at the same delivery. Only a thread of C, such as
faulthandler's, can notice. Other engines then find the cause, see `crash_guard`.
"""

from __future__ import annotations

import contextlib
import faulthandler
import sys

#: What faulthandler raises if there is no standard error.
_NO_FILE = (AttributeError, OSError, RuntimeError, ValueError)


class FreezeWatch:
    """Ends the process, with the stacks of its threads on standard error, if `renew` is not called in time. One per process:
    several engines renew the same."""

    def __init__(self, seconds: float | None) -> None:
        """`seconds`: after which to end the process; None: never, since the process does more than to deliver."""
        self._seconds = seconds

    def renew(self) -> None:
        if self._seconds is not None:
            with contextlib.suppress(*_NO_FILE):
                faulthandler.dump_traceback_later(self._seconds, exit=True, file=sys.__stderr__ or sys.stderr)

    def end(self) -> None:
        if self._seconds is not None:
            faulthandler.cancel_dump_traceback_later()
