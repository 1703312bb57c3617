"""The phases of an engine's life, in order."""

from __future__ import annotations

from enum import Enum


class Phase(Enum):
    """What an engine may do. It only ever moves to the next phase."""

    RUNNING = "running"
    #: Leases and starts nothing new; requests in flight end.
    DRAINING = "draining"
    #: No request is in flight any more; the remaining results are recorded, and all queues are released.
    FINISHING = "finishing"
    #: Out of time: other engines do the remaining work.
    ENDED = "ended"
