"""The constants and expressions of time that the queue is built on. Times that matter are the database's."""

from __future__ import annotations

from datetime import UTC, datetime

from django.db import connections
from django.db.models.functions import Now

from webhooks_app.models.database import database_alias

#: "Nothing to do", and also "paused or disabled": a constant and never NULL, because LEAST and GREATEST treat NULL
#: differently on every database, and PostgreSQL's `infinity` cannot be read back into Python.
IDLE = datetime(9999, 1, 1, tzinfo=UTC)

_NOW_SQL = {
    "postgresql": "SELECT clock_timestamp()",
    "sqlite": "SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')",
    "mysql": "SELECT UTC_TIMESTAMP(6)",
}


def database_now(alias: str | None = None) -> datetime:
    """The clock of the app's database, aware, in UTC. Leases and due times are compared with this one, never with a
    worker's. `alias`: of the database, where the caller knows it."""
    connection = connections[alias or database_alias()]
    with connection.cursor() as cursor:
        cursor.execute(_NOW_SQL[connection.vendor])
        value: datetime | str = cursor.fetchone()[0]
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return value.astimezone(UTC)


__all__ = ["IDLE", "Now", "database_now"]
