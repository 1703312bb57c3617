"""Pauses: tenants and queues that failed are paused, longer each time."""

from __future__ import annotations

import math
import time
import uuid

#: The first pause after a failure, doubled each time, and its maximum (seconds).
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 60.0
#: With more keys than this, those whose pauses no longer matter are dropped.
_MOST_KEYS = 1000


class Pauses:
    """Keys that are paused, longer each time. Times are monotonic seconds."""

    def __init__(
        self, longest: float = LONGEST_PAUSE, *, first: float = FIRST_PAUSE, forgotten_after: float | None = None
    ) -> None:
        """`first`, `longest`: a pause is doubled each time, from one to the other. A key without a failure for `forgotten_after`
        after its pause starts again with the first one; None: for as long as the pause was."""
        self._longest, self._first, self._forgotten_after = longest, first, forgotten_after
        self._until: dict[uuid.UUID, tuple[float, float]] = {}

    def put(self, key: uuid.UUID) -> float:
        """Pause a key, and return for how long (seconds)."""
        now = time.monotonic()
        until, last = self._until.get(key, (-math.inf, 0.0))
        pause = self._first if now > self._matters_until(until, last) else min(last * 2, self._longest)
        self._until[key] = (now + pause, pause)
        if len(self._until) > _MOST_KEYS:
            self._until = {key: pair for key, pair in self._until.items() if now <= self._matters_until(*pair)}
        return pause

    def forget(self, key: uuid.UUID) -> None:
        """End the pause of this key; its next one is the first again."""
        self._until.pop(key, None)

    def _matters_until(self, until: float, last: float) -> float:
        return until + (last if self._forgotten_after is None else self._forgotten_after)

    def last(self, key: uuid.UUID) -> float:
        """Return when the last pause of a key ended or will end, 0.0 if it had none. As a sort key, this puts the keys that
        were tried least recently first."""
        return self._until.get(key, (0.0, 0.0))[0]

    def remembered(self) -> set[uuid.UUID]:
        """Return the keys whose next pause would not be the first one again."""
        now = time.monotonic()
        return {key for key, pair in self._until.items() if now <= self._matters_until(*pair)}

    def active(self) -> set[uuid.UUID]:
        now = time.monotonic()
        return {key for key, (until, _) in self._until.items() if until > now}
