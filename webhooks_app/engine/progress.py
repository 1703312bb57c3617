"""What an engine has done so far, and the conditions that end it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Progress:
    """What an engine has done so far; `until` conditions are asked with it."""

    seconds: float = 0.0
    #: Seconds since there was last anything to do; 0.0 while there is.
    idle_seconds: float = 0.0
    #: True when the database was looked at after the last work and had nothing due.
    idle: bool = False
    events: int = 0
    deliveries: int = 0
    requests: int = 0
    recorded: int = 0


Until = Callable[[Progress], bool]
OnRetired = Callable[[Progress], None]


def for_ever(progress: Progress) -> bool:
    """Run until the process is told to stop."""
    return False


def idle_for(seconds: float) -> Until:
    """Run until nothing has been due for so long (0: until nothing is due)."""
    return lambda progress: progress.idle and progress.idle_seconds >= seconds


def budget(seconds: float, *, linger: float) -> Until:
    """Run for at most so long, or until idle for `linger` seconds."""
    return lambda progress: progress.seconds >= seconds or idle_for(linger)(progress)
