"""Statements of PostgreSQL's own, sent through psycopg 3."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from django.db import connections

from webhooks_app.db import LOCK_TIMEOUT, in_fresh_transaction, local_settings
from webhooks_app.models.lookups import array_literal

#: Characters of parameters: some thirty ids.
_LONG = 1200


def _is_long(parameters: Sequence[Any] | Mapping[str, Any]) -> bool:
    """Whether so many rows are asked for that a transaction costs less than to read them as text."""
    values = parameters.values() if isinstance(parameters, Mapping) else parameters
    return sum(len(value) for value in values if isinstance(value, str)) > _LONG


def columns(rows: Iterable[Sequence[Any]], width: int) -> list[str]:
    """Rows to the arrays that unnest takes."""
    return [array_literal(column) for column in zip(*rows, strict=True)] or ["{}"] * width


def execute(using: str, statement: str, parameters: Sequence[Any]) -> None:
    with connections[using].cursor() as cursor:
        cursor.execute(statement, parameters)


def query(using: str, statement: str, parameters: Sequence[Any] | Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Return the rows. Outside of a transaction, a table that a migration has locked is not waited for."""
    import psycopg  # not where another database is used

    connection = connections[using]
    connection.ensure_connection()
    # Not Django's cursor: psycopg's C code reads binary results, while Django matches each timestamp with a pattern.
    if connection.in_atomic_block:
        with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
            cursor.execute(statement, parameters, binary=True)
            return cursor.fetchall()
    if _is_long(parameters):
        return in_fresh_transaction(partial(query, using, statement, parameters), using, lock_timeout=LOCK_TIMEOUT)
    # Sent as one, the two statements are one transaction, in one round trip; but the rows come as text.
    with connection.wrap_database_errors, psycopg.ClientCursor(connection.connection) as cursor:
        cursor.execute(f"{local_settings(lock_timeout=LOCK_TIMEOUT)}; {statement}", parameters)
        cursor.nextset()
        return cursor.fetchall()
