"""Log faults on this side at a limited rate for each cause, so that one cause does not fill the log."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping

from webhooks_app import telemetry
from webhooks_app.log_thread import engine_logger

#: A cause that was logged is only counted, not logged again, for this time (seconds).
_QUIET = 60.0
_MOST_CAUSES = 1000

logger = engine_logger("webhooks_app.engine")


class FaultLog:
    """Logs each cause once a minute. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: Cause → when it may be logged again (monotonic), and how often it was suppressed since.
        self._causes: dict[str, tuple[float, int]] = {}

    def report(
        self,
        cause: str,
        message: str,
        *args: object,
        error: BaseException | None = None,
        level: int = logging.ERROR,
        ids: Mapping[str, object] | None = None,
    ) -> None:
        """Log a fault, with the error's traceback if `error` is given, unless the same cause was logged recently. `ids`: the
        result of `log_ids`."""
        telemetry.count("own_faults")
        now = time.monotonic()
        with self._lock:
            quiet_until, missed = self._causes.get(cause, (0.0, 0))
            if now < quiet_until:
                self._causes[cause] = (quiet_until, missed + 1)
                return
            if len(self._causes) >= _MOST_CAUSES:
                self._causes.clear()
            self._causes[cause] = (now + _QUIET, 0)
        suffix = f" ({missed} more since the last report)" if missed else ""
        logger.log(level, "webhooks: " + message + suffix, *args, exc_info=error, extra=ids)
