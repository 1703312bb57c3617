"""Detect stalls of this process: responses that its transport could not read in time are not the receivers' fault."""

from __future__ import annotations

import math
from collections.abc import Iterable
from time import monotonic

from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport.base import OurFault, Response

#: Two turns of a loop that lie further apart (seconds) than the wait between them are a stall.
_LONGEST_DELAY = 0.5
#: For how long after a stall timeouts are still put down to it: what came meanwhile may not have been read yet.
_CATCHING_UP = 0.25


class StallWatch:
    """Notices when the transport's loop stood still: the process was stopped, its virtual machine was moved, or another
    thread blocked the interpreter. Used by the thread of the loop only."""

    def __init__(self) -> None:
        self._last_turn = math.inf
        self._seconds = 0.0
        self._caught_up_at = -math.inf

    def turn(self, waited: float) -> None:
        """Note that the loop is at work. `waited`: for how long it was meant to wait since the last call, at most."""
        now = monotonic()
        late = now - self._last_turn - max(waited, 0.0)
        if late > _LONGEST_DELAY:
            self._seconds, self._caught_up_at = late, now + _CATCHING_UP
        self._last_turn = now

    def take_the_blame(self, responses: Iterable[Response]) -> None:
        """Turn timeouts that come of a stall into NOT_SENT. Such a request may have reached its receiver; it is sent again."""
        if self._last_turn > self._caught_up_at:
            return
        for response in responses:
            if response.failure is OutcomeKind.TIMEOUT:
                response.failure, response.our_fault = OutcomeKind.NOT_SENT, OurFault.STALLED
                response.detail = f"this process stood still for {self._seconds:.1f} s, and the deadline passed"
