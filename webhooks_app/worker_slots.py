"""How many delivery tasks one Celery worker may run at once, counted across its processes.

An engine occupies a slot of its worker for a minute, and the next one follows. If engines had all slots, the host's tasks and the
periodic tasks of this app would never run.

- A worker that consumes other queues too keeps one slot free of delivery.
- A worker of its own for webhooks, or one that has a single slot, may deliver in all of them. Its last slot is only lent: tasks
  deliver there for a few seconds, then the slot is free for a moment, in which waiting tasks get their turn. The seconds are
  counted over all tasks that follow one another, since each of many hints in the queue can begin a new one.
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

#: Seconds for which the last slot of a worker is lent: where the host's tasks wait for it, and in a worker of its own.
LENT_SECONDS_SHARED = 5.0
LENT_SECONDS = 15.0
#: With less left of that, a task does not begin (seconds).
SHORTEST_SECONDS = 1.0
#: Seconds for which the last slot then stays free.
PAUSE_SECONDS = 1.0


class WorkerSlots:
    """The slots of one worker. Made in its main process before the children are forked, which inherit it."""

    def __init__(self, concurrency: int, *, shared: bool) -> None:
        """`shared`: the worker consumes other queues, too."""
        self.shared = shared
        #: How many delivery tasks run at once.
        self.count = concurrency - 1 if shared and concurrency > 1 else concurrency
        self._last = concurrency - 1
        # Byte n of this file is locked while slot n delivers. The kernel unlocks it when its process dies, however it dies.
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the worker runs
        #: What this process has taken, by its number.
        self._taken_here: dict[int, Slot] = {}
        self._lock = threading.Lock()
        #: Of the last slot: until when it stays free and when it was given back (monotonic), and for how long (seconds) it was
        #: used by tasks that followed one another without a pause. Written by the process that has the slot.
        self._paused_until: Any = multiprocessing.RawValue(ctypes.c_double, 0.0)
        self._freed_at: Any = multiprocessing.RawValue(ctypes.c_double, -math.inf)
        self._used: Any = multiprocessing.RawValue(ctypes.c_double, 0.0)

    def take(self) -> Slot | None:
        """Take a free slot; None where delivery must leave the rest to other tasks."""
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
        """For how much longer the last slot may be used before there is a pause."""
        used: float = self._used.value
        return max((LENT_SECONDS_SHARED if self.shared else LENT_SECONDS) - used, 0.0)

    def give_back(self, slot: Slot, *, pause: bool) -> bool:
        """Free the slot. A lent one stays free for PAUSE_SECONDS with `pause`, or where its time is nearly up; returns whether
        it does. Safe to repeat."""
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
        """Give up counting, as a worker does when it ends."""
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
        """For delivery outside a worker, where nothing else waits."""
        return cls(None, 0, lent=False, taken_at=time.monotonic())

    @property
    def seconds(self) -> float:
        """How long a delivery task may run here."""
        return self.slots.lent_seconds() if self.slots is not None and self.lent else math.inf

    def give_back(self, *, pause: bool = True) -> bool:
        """Let the next delivery task have it: a lent slot after a pause, unless it was hardly used. Returns whether there is
        a pause. Safe to repeat."""
        return self.slots is not None and self.slots.give_back(self, pause=pause)
