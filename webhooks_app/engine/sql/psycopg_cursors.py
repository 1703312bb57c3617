"""Statements of PostgreSQL's own, sent through psycopg 3."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import connections

from webhooks_app.db import LOCK_TIMEOUT
from webhooks_app.models.lookups import array_literal

#: A table that a migration has locked is not waited for, and nothing is compiled; see `in_fresh_transaction`.
_BRIEFLY = f"SELECT set_config('lock_timeout', '{round(LOCK_TIMEOUT * 1000)}ms', true), set_config('jit', 'off', true);"


def columns(rows: Iterable[Sequence[Any]], width: int) -> list[str]:
    """Rows to the arrays that unnest takes."""
    return [array_literal(column) for column in zip(*rows, strict=True)] or ["{}"] * width


def execute(using: str, statement: str, parameters: Sequence[Any]) -> None:
    with connections[using].cursor() as cursor:
        cursor.execute(statement, parameters)


def query(using: str, statement: str, parameters: Sequence[Any] | Mapping[str, Any]) -> list[tuple[Any, ...]]:
    import psycopg  # not where another database is used

    connection = connections[using]
    connection.ensure_connection()
    # Not Django's cursor: psycopg's C code reads the results, while Django matches each timestamp with a pattern.
    if connection.in_atomic_block:
        with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
            cursor.execute(statement, parameters, binary=True)
            return cursor.fetchall()
    # Sent as one, the two statements are one transaction, in one round trip.
    with connection.wrap_database_errors, psycopg.ClientCursor(connection.connection) as cursor:
        cursor.execute(_BRIEFLY + statement, parameters)
        cursor.nextset()
        return cursor.fetchall()
