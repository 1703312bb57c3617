"""Detect stalls of this process: a response that its transport could not read in time is not the receiver's fault."""

from __future__ import annotations

import math
from collections.abc import Iterable
from time import monotonic

from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport.base import OurFault, Response

#: If a turn of the loop comes this much later (seconds) than the wait before it, the process was stalled.
_LONGEST_DELAY = 0.5
#: For how long after a stall (seconds) it explains timeouts: data that arrived meanwhile may still be unread.
_CATCHING_UP = 0.25


class StallWatch:
    """Detects stalls of the transport's loop: the process was stopped, its virtual machine was moved, or another thread blocked
    the interpreter. Only for the thread of the loop."""

    def __init__(self) -> None:
        self._last_turn = math.inf
        self._seconds = 0.0
        self._caught_up_at = -math.inf

    def turn(self, waited: float) -> None:
        """Record that the loop is running. `waited`: the longest that it should have waited since the last call (seconds)."""
        now = monotonic()
        late = now - self._last_turn - max(waited, 0.0)
        if late > _LONGEST_DELAY:
            self._seconds, self._caught_up_at = late, now + _CATCHING_UP
        self._last_turn = now

    def mark_timeouts_after_stall_not_sent(self, responses: Iterable[Response]) -> None:
        """Change timeouts caused by a stall to NOT_SENT. Such a request may have reached its receiver; it is sent again."""
        if self._last_turn > self._caught_up_at:
            return
        for response in responses:
            if response.failure is OutcomeKind.TIMEOUT:
                response.failure, response.our_fault = OutcomeKind.NOT_SENT, OurFault.STALLED
                response.detail = f"this process stood still for {self._seconds:.1f} s, and the deadline passed"
