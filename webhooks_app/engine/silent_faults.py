"""Log what raises no error, and yet lets an engine deliver nothing, or record nothing."""

from __future__ import annotations

from django.db import connections

from webhooks_app.engine.faults import FaultLog
from webhooks_app.log_thread import engine_logger
from webhooks_app.models.row_security import HINT, row_security_fault

logger = engine_logger(__name__)

#: The databases that were looked at. Once a process: Celery starts an engine for each burst of events.
_known: set[str] = set()


def report_row_security(using: str) -> int:
    """Log an error if row level security hides rows. As a step of the database thread, it returns how much work it did: none."""
    if using not in _known:
        fault = row_security_fault(using)
        _known.add(using)
        if fault:
            logger.error("webhooks: %s %s", fault, HINT)
    return 0


def report_autocommit(using: str, faults: FaultLog) -> int:
    """Log an error if this thread's connection commits nothing, because a receiver of `connection_created` has switched that off.
    The check of DATABASES, E017, does not see it. A step as above."""
    if not connections[using].get_autocommit():
        text = "autocommit was switched off for the database connection: nothing that the engine does is committed"
        faults.report("autocommit", text)
    return 0
