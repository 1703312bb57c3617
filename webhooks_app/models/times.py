"""Time constants and expressions of the queue. All relevant times are the database's."""

from __future__ import annotations

from datetime import UTC, datetime

from django.db import connections
from django.db.models.functions import Now

from webhooks_app.models.database import database_alias

# Constants and never NULL, because LEAST and GREATEST treat NULL differently on every database, and PostgreSQL's `infinity`
# cannot be read back into Python.
#: The endpoint is paused, disabled or deleted: its queue is never due, whatever work it has.
BLOCKED = datetime(9998, 1, 1, tzinfo=UTC)
#: Nothing holds the queue back. No time of the clock: that may be set back, and then the queue would wait for it again.
NOT_HELD = datetime(1970, 1, 1, tzinfo=UTC)
#: The queue has no work. Later than BLOCKED, so that `due_at` says so for a blocked queue, too.
NOTHING_DUE = datetime(9999, 1, 1, tzinfo=UTC)

#: Times outside these years are meaningless here, and calculations with them may overflow.
FIRST_YEAR, LAST_YEAR = 1970, 9000

_NOW_SQL = {
    "postgresql": "SELECT clock_timestamp()",
    "sqlite": "SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')",
    "mysql": "SELECT UTC_TIMESTAMP(6)",
}


def database_now(alias: str | None = None) -> datetime:
    """Return the database's current time, aware, in UTC. Leases and due times are compared with this clock, never with a
    worker's. `alias`: the database's alias, if the caller knows it."""
    connection = connections[alias or database_alias()]
    with connection.cursor() as cursor:
        cursor.execute(_NOW_SQL[connection.vendor])
        value: datetime | str = cursor.fetchone()[0]
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return value.astimezone(UTC)


__all__ = ["BLOCKED", "FIRST_YEAR", "LAST_YEAR", "NOTHING_DUE", "NOT_HELD", "Now", "database_now"]
