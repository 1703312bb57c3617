"""The statements of the pipeline that are worth writing twice: portably with the ORM, and set-based for PostgreSQL.

Each function's contract stands in `portable.py`; `postgresql.py` does the same in fewer round trips. The same tests run on
both. Nothing here decides anything.
"""

from __future__ import annotations

from django.db import connections

from webhooks_app.conf import settings
from webhooks_app.pipeline.store.portable import PortableStore
from webhooks_app.pipeline.store.postgresql import PostgreSQLStore


def store_for(using: str) -> PortableStore:
    """The statements for this database. FAST_PATHS off forces the portable ones, for comparison and diagnosis."""
    fast = connections[using].vendor == "postgresql" and settings().FAST_PATHS
    return PostgreSQLStore(using) if fast else PortableStore(using)


__all__ = ["PortableStore", "PostgreSQLStore", "store_for"]
