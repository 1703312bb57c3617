"""Log once if row level security hides rows from the engine, which would otherwise deliver nothing without a word."""

from __future__ import annotations

from webhooks_app.log_thread import engine_logger
from webhooks_app.models.row_security import HINT, row_security_fault

logger = engine_logger(__name__)

#: The databases that were looked at. Once a process: Celery starts an engine for each burst of events.
_known: set[str] = set()


def report_row_security(using: str) -> int:
    """Log an error if this database has the fault. As a step of the database thread, it returns how much work it did: none."""
    if using not in _known:
        fault = row_security_fault(using)
        _known.add(using)
        if fault:
            logger.error("webhooks: %s %s", fault, HINT)
    return 0
