"""Log what raises no error, and yet lets an engine deliver nothing, or record nothing."""

from __future__ import annotations

from django.db import connections

from webhooks_app.engine.faults import FaultLog
from webhooks_app.log_thread import engine_logger
from webhooks_app.models.row_security import HINT, row_security_fault

logger = engine_logger(__name__)

#: The databases that were looked at. Once a process: Celery starts an engine for each burst of events.
_known: set[str] = set()


def report_silent_faults(using: str, faults: FaultLog) -> int:
    """Log what this database and this thread's connection have of these. As a step of the database thread, it returns how much
    work it did: none."""
    _report_row_security(using)
    connection = connections[using]
    if not (connection.get_autocommit() or connection.in_atomic_block):  # E017, which reads DATABASES, does not see it
        text = (
            "a receiver of `connection_created` has switched off autocommit: nothing that the engine does is committed"
        )
        faults.report("autocommit", text)
    return 0


def _report_row_security(using: str) -> None:
    """Log an error if row level security hides rows."""
    if using not in _known:
        fault = row_security_fault(using)
        _known.add(using)
        if fault:
            logger.error("webhooks: %s %s", fault, HINT)
