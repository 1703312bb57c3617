"""The phases of an engine's life, in order."""

from __future__ import annotations

from enum import Enum


class Phase(Enum):
    """What an engine may do. It only ever moves on to the next phase."""

    RUNNING = "running"
    #: Takes and starts nothing more; requests in flight end.
    DRAINING = "draining"
    #: No request is in flight any more; what is there is recorded, and all queues are released.
    FINISHING = "finishing"
    #: Out of time: what is left is left to others.
    ENDED = "ended"
