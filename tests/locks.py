"""Rows that another transaction has locked, as a host's request may; for PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection
from django.db.models import Model


@contextmanager
def locked(row: Model) -> Iterator[None]:
    """A transaction on a connection of its own locks the row for as long as the block lasts."""
    meta = row._meta
    other = connection.get_new_connection(connection.get_connection_params())
    try:
        other.execute(f"SELECT 1 FROM {meta.db_table} WHERE {meta.pk.column} = %s FOR UPDATE", [row.pk])
        yield
    finally:
        other.close()
