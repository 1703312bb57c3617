"""Log messages that a process writes only once, or at a limited rate."""

from __future__ import annotations

import logging
import math
import time

from django.core.checks import ERROR, run_checks

logger = logging.getLogger(__name__)

#: The tag of this app's system checks, and the prefix of their error ids.
_TAG = "webhooks_app"
_ERRORS = "webhooks_app.E"
#: A process repeats the same line only this often (seconds).
_PAUSE = 60.0

_checked = False
_logged_at: dict[str, float] = {}


def log_configuration_errors() -> None:
    """Log the errors of this app's system checks, once per process.

    Called when an engine starts: a Celery worker runs the checks, but drops their results. Delivery continues if possible.
    """
    global _checked
    if _checked:
        return
    _checked = True
    for message in run_checks(tags=[_TAG]):
        if message.level >= ERROR and str(message.id).startswith(_ERRORS) and not message.is_silenced():
            logger.error("webhooks: %s %s (%s)", message.msg, message.hint or "", message.id)


def log_once_a_minute(level: int, key: str, message: str, *, exc_info: BaseException | None = None) -> None:
    """Log `message`, unless this process has logged one of the same key within a minute."""
    now = time.monotonic()
    if now >= _logged_at.get(key, -math.inf) + _PAUSE:
        _logged_at[key] = now
        logger.log(level, "webhooks: %s", message, exc_info=exc_info)


def reset() -> None:
    """Forget what was logged; for tests."""
    global _checked
    _checked = False
    _logged_at.clear()
