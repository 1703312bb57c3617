"""Slot: one metrics backend, and for how long it is disabled after it was slow or has failed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from webhooks_app.log_thread import engine_logger

logger = engine_logger(__name__)

#: Seconds for which a backend is disabled after it failed or was slow. A call that took HANGING_SECONDS or more doubles them
#: each time, up to LONGEST_OFF_SECONDS: if a collector hangs, each try delays all deliveries.
OFF_SECONDS = 60.0
LONGEST_OFF_SECONDS = 86_400.0
HANGING_SECONDS = 1.0
#: If a backend was not slow for this long after it was enabled, and for at least as long as it was disabled, the next pause is
#: OFF_SECONDS again.
GOOD_SECONDS = 3600.0
#: A call that takes longer than SLOW_CALL (seconds) is slow. A backend is also disabled when its slow calls within
#: OFF_SECONDS add up to MOST_SLOW_SECONDS. One call that is just slow is not enough, because the processor may have been busy.
SLOW_CALL = 0.05
MOST_SLOW_SECONDS = 0.1


class Slot:
    """One backend, and until when it is disabled (monotonic seconds)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.backend: Any = None
        self.off_until = 0.0
        #: Disabled because it was too slow: then no span is ended either.
        self.too_slow = False
        self._slow_seconds = self._slow_since = 0.0
        #: How long it was off when it was last too slow, and when that ended.
        self._off_seconds = self._slow_until = 0.0

    @property
    def is_off(self) -> bool:
        return time.monotonic() < self.off_until

    def call(self, call: Callable[[Any], Any]) -> Any:
        """Call the backend, and disable it if it is slow. Raises what it raises."""
        began = time.monotonic()
        try:
            return call(self.backend)
        finally:
            now = time.monotonic()
            if now - began > SLOW_CALL:
                self._note_slow(now - began, now)

    def _note_slow(self, seconds: float, now: float) -> None:
        if now - self._slow_since > OFF_SECONDS:
            self._slow_seconds, self._slow_since = 0.0, now
        self._slow_seconds += seconds
        if self._slow_seconds < MOST_SLOW_SECONDS:
            return
        if seconds < HANGING_SECONDS or now - self._slow_until > max(GOOD_SECONDS, self._off_seconds):
            self._off_seconds = 0.0
        self._off_seconds = min(max(2 * self._off_seconds, OFF_SECONDS), LONGEST_OFF_SECONDS)
        self.too_slow, self._slow_seconds = True, 0.0
        self.off_until = self._slow_until = now + self._off_seconds
        logger.warning(
            "webhooks: the metrics backend %r took %.2f s for a call and is off for %.0f s",
            self.name,
            seconds,
            self._off_seconds,
        )

    def failed(self) -> None:
        """Disable the backend for a while. Call this while the exception is handled: it is logged."""
        self.too_slow = self.too_slow and self.is_off
        self.off_until = max(self.off_until, time.monotonic() + OFF_SECONDS)
        logger.warning(
            "webhooks: the metrics backend %r failed and is off for %.0f s",
            self.name,
            self.off_until - time.monotonic(),
            exc_info=True,
        )
