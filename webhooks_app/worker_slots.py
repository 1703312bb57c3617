"""Limit the delivery tasks that one Celery worker runs at once, counted across its processes.

An engine occupies a slot of its worker for a minute, and the next one follows. If engines had all slots, the host's tasks and the
periodic tasks of this app would never run.

- A worker that consumes other queues too keeps one slot free of delivery.
- A worker for webhooks only, or one with a single slot, may deliver in all of its slots. Its last slot is only lent: tasks
  deliver there for a few seconds, then the slot is free for a moment, so that waiting tasks get their turn. The seconds are
  counted over all consecutive tasks, because each of many hints in the queue can start a new one.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import multiprocessing
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import Any

try:
    import fcntl
except ImportError:  # not POSIX: a worker has one process there, and the set of this process is enough
    fcntl = None  # type: ignore[assignment]

#: Seconds for which the last slot of a worker is lent: if it is shared with the host's tasks, and if it is for webhooks only.
LENT_SECONDS_SHARED = 5.0
LENT_SECONDS = 15.0
#: With less time left than this, a task does not start (seconds).
SHORTEST_SECONDS = 1.0
#: Seconds for which the last slot stays free afterwards.
PAUSE_SECONDS = 1.0


class WorkerSlots:
    """The slots of one worker. Created in its main process before the children are forked, which inherit it."""

    def __init__(self, concurrency: int, *, shared: bool) -> None:
        """`shared`: the worker consumes other queues, too."""
        self.shared = shared
        #: The maximum number of concurrent delivery tasks.
        self.count = concurrency - 1 if shared and concurrency > 1 else concurrency
        self._last = concurrency - 1
        # Byte n of this file is locked while slot n delivers. The kernel unlocks it whenever its process ends.
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the worker runs
        #: The slots that this process has taken, by number.
        self._taken_here: dict[int, Slot] = {}
        self._lock = threading.Lock()
        #: For the last slot: until when it stays free and when it was returned (monotonic), and for how long (seconds)
        #: consecutive tasks have used it without a pause. Written by the process that has the slot.
        self._paused_until: Any = multiprocessing.RawValue(ctypes.c_double, 0.0)
        self._freed_at: Any = multiprocessing.RawValue(ctypes.c_double, -math.inf)
        self._used: Any = multiprocessing.RawValue(ctypes.c_double, 0.0)

    def take(self) -> Slot | None:
        """Take a free slot; return None if delivery must leave the remaining slots to other tasks."""
        with self._lock:
            for number in range(self.count):
                lent = number == self._last
                if lent and time.monotonic() < self._paused_until.value:
                    return None
                if number not in self._taken_here and self._lock_byte(number):
                    if lent and time.monotonic() >= self._freed_at.value + PAUSE_SECONDS:
                        self._used.value = 0.0
                    self._taken_here[number] = slot = Slot(self, number, lent, time.monotonic())
                    return slot
        return None

    def lent_seconds(self) -> float:
        """Return for how many more seconds the last slot may be used before a pause."""
        used: float = self._used.value
        return max((LENT_SECONDS_SHARED if self.shared else LENT_SECONDS) - used, 0.0)

    def give_back(self, slot: Slot, *, pause: bool) -> bool:
        """Free the slot. A lent slot stays free for PAUSE_SECONDS with `pause`, or if its time is nearly up; return whether it
        does. Safe to repeat."""
        with self._lock:
            if self._taken_here.get(slot.number) is not slot:
                return False
            now = time.monotonic()
            pauses = False
            if slot.lent:
                self._freed_at.value = now
                self._used.value += now - slot.taken_at
                pauses = pause or self.lent_seconds() < SHORTEST_SECONDS
            if pauses:
                self._paused_until.value = now + PAUSE_SECONDS
            del self._taken_here[slot.number]
            if fcntl is not None:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, slot.number)
            return pauses

    def close(self) -> None:
        """Close the file that counts the slots, when the worker ends."""
        self._file.close()

    def _lock_byte(self, number: int) -> bool:
        if fcntl is None:
            return True
        with contextlib.suppress(OSError):
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
            return True
        return False


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot that a delivery task has taken. `lent`: for `seconds` at most, because other tasks wait for it. `taken_at`:
    monotonic."""

    slots: WorkerSlots | None
    number: int
    lent: bool
    taken_at: float

    @classmethod
    def unlimited(cls) -> Slot:
        """Return a slot without limits, for delivery outside a worker."""
        return cls(None, 0, lent=False, taken_at=time.monotonic())

    @property
    def seconds(self) -> float:
        """Return how long a delivery task may run here, in seconds."""
        return self.slots.lent_seconds() if self.slots is not None and self.lent else math.inf

    def give_back(self, *, pause: bool = True) -> bool:
        """Free the slot for the next delivery task; a lent slot only after a pause, unless it was hardly used. Return whether
        there is a pause. Safe to repeat."""
        return self.slots is not None and self.slots.give_back(self, pause=pause)
