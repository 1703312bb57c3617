"""Send PostgreSQL-specific statements through psycopg 3.

Each wait for an answer costs a busy engine some milliseconds: its threads take turns. So what belongs together goes to the
database as one message.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from django.db import connections, transaction

from webhooks_app.db import LOCK_TIMEOUT, local_settings, with_retries
from webhooks_app.models.lookups import array_literal

if TYPE_CHECKING:
    from psycopg.abc import Loader

Row = tuple[Any, ...]
Parameters = Sequence[Any] | Mapping[str, Any]
#: SQL with psycopg's placeholders, and their values.
Statement = tuple[str, Parameters]


def columns(rows: Iterable[Sequence[Any]], width: int) -> list[str]:
    """Convert rows to the arrays that unnest takes."""
    return [array_literal(column) for column in zip(*rows, strict=True)] or ["{}"] * width


def execute(using: str, statement: str, parameters: Sequence[Any]) -> None:
    with connections[using].cursor() as cursor:
        cursor.execute(statement, parameters)


def query(using: str, statement: str, parameters: Parameters) -> list[Row]:
    """Return the rows. Outside a transaction, do not wait for a table that a migration has locked."""
    connection = connections[using]
    if not connection.in_atomic_block:
        return send(using, (statement, parameters))[0]
    import psycopg  # not installed if another database is used

    # Not Django's cursor: psycopg's C code reads binary results, while Django matches each timestamp with a pattern.
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(statement, parameters, binary=True)
        return cursor.fetchall()


def send(
    using: str, *statements: Statement, relaxed: bool = False, walks_index: bool = False, sorts: bool = True
) -> list[list[Row]]:
    """Run the statements in one round trip, and return the rows of each.

    Outside a transaction they get one of their own, which waits for locks no longer than LOCK_TIMEOUT; after a deadlock it is
    tried again. `relaxed`: its COMMIT does not wait for the disk. `walks_index`: for statements that are only fast if the
    planner uses an index, whatever its estimate of the tables' sizes. `sorts`: False for those that only read in the order of
    an index.
    """
    if connections[using].in_atomic_block:
        # Without the settings, because they would last as long as the caller's transaction.
        with transaction.atomic(using=using):
            return _send(using, [], statements)
    settings = local_settings(relaxed=relaxed, lock_timeout=LOCK_TIMEOUT, walks_index=walks_index, sorts=sorts)
    return with_retries(lambda: _send(using, [settings], statements), using, lock_timeout=LOCK_TIMEOUT)


def _send(using: str, begin: Sequence[str], statements: Sequence[Statement]) -> list[list[Row]]:
    import psycopg

    connection = connections[using]
    connection.ensure_connection()
    results = []
    with connection.wrap_database_errors, psycopg.ClientCursor(connection.connection) as cursor:
        cursor.adapters.register_loader("timestamptz", _timestamptz_loader())
        cursor.execute("; ".join([*begin, *(cursor.mogrify(text, values) for text, values in statements)]))
        more: bool | None = True
        while more:
            results.append(cursor.fetchall() if cursor.description else [])
            more = cursor.nextset()
    return results[-len(statements) :]


@cache
def _timestamptz_loader() -> type[Loader]:
    """Return psycopg's own loader, in C: Django's matches each timestamp with a pattern."""
    import psycopg

    loader = psycopg.adapters.get_loader(psycopg.adapters.types["timestamptz"].oid, psycopg.pq.Format.TEXT)
    assert loader is not None
    return loader
