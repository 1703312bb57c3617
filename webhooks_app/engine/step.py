"""Step: one of the things that the database thread does in a turn, and how long it is left alone where it failed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

#: Seconds.
_FIRST_PAUSE = 0.05


def longer(pause: float, longest: float) -> float:
    """Return the pause (seconds) that follows this one, which was 0 where nothing had failed."""
    return min(max(pause * 2, _FIRST_PAUSE), longest)


@dataclass(slots=True)
class Step:
    """One step of a turn, and until when (monotonic) it is left alone because it failed."""

    name: str
    work: Callable[[], int]
    #: It takes on new work, so it is left out while the engine drains.
    takes_work: bool
    not_before: float = 0.0
    pause: float = 0.0

    def put_off(self, longest: float) -> None:
        """Leave it alone for a while, longer each time, up to `longest` seconds."""
        self.pause = longer(self.pause, longest)
        self.not_before = time.monotonic() + self.pause

    def went_well(self) -> None:
        self.pause = self.not_before = 0.0
