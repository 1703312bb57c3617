"""Faults for which this whole process cannot send, while another engine may be able to: its proxy, its address, a file."""

from __future__ import annotations

import threading
import time

#: So many in a row, without a response in between, and the process leaves its work to other engines.
_MANY = 10
#: The pause after which it tries again: the first one, doubled each time, and the longest (seconds).
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0


class SendFaults:
    """Counts such faults in a row, and decides when the process leases queues. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_a_row = 0
        #: Whether there was a response since the last fault; at first it is not known whether anything can be sent.
        self._answered = False
        #: Whether there was a fault since the last pause.
        self._failed = False
        self._pause = 0.0
        #: The end of the pause (monotonic).
        self._until = 0.0
        #: Whether another engine is alive, which may be able to send. Written by database threads, while `in_doubt`.
        self.others_alive = False

    # --- called by the sending thread --------------------------------------------------------------------------------

    def note_response(self) -> None:
        with self._lock:
            self._in_a_row, self._pause, self._answered = 0, 0.0, True

    def note_fault(self) -> None:
        with self._lock:
            self._in_a_row += 1
            self._answered, self._failed = False, True

    @property
    def are_many(self) -> bool:
        return self._in_a_row >= _MANY

    # --- called by the database thread -------------------------------------------------------------------------------

    @property
    def in_doubt(self) -> bool:
        """Return whether the process may be unable to send, so that it matters whether others are alive."""
        return not self._answered

    def begin_pause(self) -> float:
        """Return for how long (seconds) the process leases nothing from now on; 0.0 if no pause begins now."""
        with self._lock:
            if not (self.others_alive and self.are_many and self._failed):
                return 0.0
            self._failed = False
            self._pause = min(max(self._pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
            self._until = time.monotonic() + self._pause
            return self._pause

    def most_queues(self, leased: int, usual: int) -> int:
        """Return how many queues may be leased: none during the pause, after it one of each class until there is a response,
        else `usual`. `leased`: how many are leased now."""
        if not (self.others_alive and self.are_many):
            return usual
        return 0 if leased or time.monotonic() < self._until else 1


#: One for the whole process: an engine that ends for lack of work is followed by another one.
send_faults = SendFaults()
