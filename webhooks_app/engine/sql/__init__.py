"""The engine's statements in two versions: portable with the ORM, and set-based for PostgreSQL.

The contracts are documented in `portable.py` and `portable_record.py`; `postgresql.py` and `postgresql_record.py` do the same
in fewer round trips. The same tests run on both. These modules make no decisions.
"""

from __future__ import annotations

from django.db import connections

from webhooks_app.conf import settings
from webhooks_app.engine.sql.portable import PortableStore
from webhooks_app.engine.sql.postgresql import PostgreSQLStore


def store_for(using: str) -> PortableStore:
    """Return the statements for this database. Disable POSTGRESQL_SQL to force the portable ones, for comparison or diagnosis."""
    return PostgreSQLStore(using) if settings().ENGINE.POSTGRESQL_SQL and _has_psycopg3(using) else PortableStore(using)


def _has_psycopg3(using: str) -> bool:
    """Return whether the database is PostgreSQL, reached through psycopg 3: the statements use its own cursors."""
    if connections[using].vendor != "postgresql":
        return False
    from django.db.backends.postgresql.psycopg_any import is_psycopg3

    return bool(is_psycopg3)


__all__ = ["PortableStore", "PostgreSQLStore", "store_for"]
