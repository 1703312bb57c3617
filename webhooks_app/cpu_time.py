"""The processor time of a thread without that of garbage collections.

Python collects garbage in whichever thread needs memory. In a host with many objects that takes hundreds of milliseconds, and
what the thread was doing at that moment has not cost them.
"""

from __future__ import annotations

import gc
import threading
import time
from typing import Any


class _Collections:
    """The garbage collections of this process since the first import of this module."""

    def __init__(self) -> None:
        #: The processor time (seconds) of those that have ended.
        self.seconds = 0.0
        #: The thread that is collecting, and the processor time that it had used before.
        self.running: tuple[int, float] | None = None
        gc.callbacks.append(self._note)

    def _note(self, phase: str, _info: dict[str, Any]) -> None:
        if phase == "start":
            self.running = threading.get_ident(), time.thread_time()
        elif self.running is not None:
            self.seconds += time.thread_time() - self.running[1]
            self.running = None


_collections = _Collections()


def thread_seconds() -> float:
    """Return the processor time of the current thread, less that of all garbage collections of the process.

    Only the difference of two values has a meaning.
    """
    return time.thread_time() - _collections.seconds


def seconds_of_thread(ident: int) -> float:
    """Return what `thread_seconds` returns in the living thread with this `Thread.ident`; 0 if the system does not report it."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return 0.0
    seconds, running = time.clock_gettime(time.pthread_getcpuclockid(ident)), _collections.running
    if running is not None and running[0] == ident:
        seconds = running[1]  # after a collection, Python may switch threads before the collection is noted
    return seconds - _collections.seconds
