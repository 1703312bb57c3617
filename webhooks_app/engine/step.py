"""Step: one step of the database thread's turn, and how long it is paused after a failure."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

#: Seconds.
_FIRST_PAUSE = 0.05


def longer(pause: float, longest: float) -> float:
    """Return the next pause (seconds) after `pause`, which is 0 if nothing had failed before."""
    return min(max(pause * 2, _FIRST_PAUSE), longest)


@dataclass(slots=True)
class Step:
    """One step of a turn, and until when (monotonic) it is paused because it failed."""

    name: str
    work: Callable[[], int]
    #: It takes on new work, so it is skipped while the engine drains.
    takes_work: bool
    not_before: float = 0.0
    pause: float = 0.0

    def put_off(self, longest: float) -> None:
        """Pause the step, longer each time, up to `longest` seconds."""
        self.pause = longer(self.pause, longest)
        self.not_before = time.monotonic() + self.pause

    def went_well(self) -> None:
        self.pause = self.not_before = 0.0
