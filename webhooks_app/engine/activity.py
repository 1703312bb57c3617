"""What the engine's two threads tell the heartbeat, and where they are if they tell it nothing more."""

from __future__ import annotations

import sys
import time
import traceback
from dataclasses import dataclass, field


@dataclass(slots=True)
class Activity:
    """Each field is written by one thread; times are monotonic."""

    database_turn: float = field(default_factory=time.monotonic)
    sending_turn: float = field(default_factory=time.monotonic)
    #: The threads' identifiers, once they run.
    database_thread: int = 0
    sending_thread: int = 0
    in_flight: int = 0
    unrecorded: int = 0
    leased_queues: int = 0

    def stalled_thread(self, patience: float) -> str:
        """Return the name of a thread that has completed no turn for so many seconds; empty: there is none."""
        oldest = time.monotonic() - patience
        if self.sending_turn < oldest:
            return "sending"
        return "database" if self.database_turn < oldest else ""

    def stack_of(self, thread: str) -> str:
        """Return where this thread is now: files and lines, no values."""
        frame = sys._current_frames().get(self.sending_thread if thread == "sending" else self.database_thread)
        return "".join(traceback.format_stack(frame)) if frame is not None else "unknown"
