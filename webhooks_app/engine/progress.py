"""What an engine has done so far, and the conditions that end it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Progress:
    """What an engine has done so far; the argument of `until` conditions."""

    seconds: float = 0.0
    #: Seconds since there was last something to do; 0.0 while there is.
    idle_seconds: float = 0.0
    #: True if the database was checked after the last work and had nothing due.
    idle: bool = False
    events: int = 0
    deliveries: int = 0
    requests: int = 0
    recorded: int = 0


Until = Callable[[Progress], bool]
OnRetired = Callable[[Progress], None]


def for_ever(progress: Progress) -> bool:
    """Return a condition that never ends the run; it ends when the process is asked to stop."""
    return False


def idle_for(seconds: float) -> Until:
    """Return a condition that ends the run when nothing has been due for `seconds` (0: as soon as nothing is due)."""
    return lambda progress: progress.idle and progress.idle_seconds >= seconds


def budget(seconds: float, *, linger: float) -> Until:
    """Return a condition that ends the run after a maximum time, or when idle for `linger` seconds."""
    return lambda progress: progress.seconds >= seconds or idle_for(linger)(progress)
