"""Progress of the engine's two threads, for the heartbeat: their last turns, and a stack trace if one stalls."""

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

    def stalled_thread(self, seconds: float) -> str:
        """Return the name of a thread that has completed no turn for this many seconds, or an empty string."""
        oldest = time.monotonic() - seconds
        if self.sending_turn < oldest:
            return "sending"
        return "database" if self.database_turn < oldest else ""

    def stack_of(self, thread: str) -> str:
        """Return the current stack of this thread: files and lines, no values."""
        frame = sys._current_frames().get(self.sending_thread if thread == "sending" else self.database_thread)
        return "".join(traceback.format_stack(frame)) if frame is not None else "unknown"
