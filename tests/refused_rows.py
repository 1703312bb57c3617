"""Triggers of the host's that refuse rows."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection


@contextmanager
def refused(table: str, column: str, key: uuid.UUID, moment: str = "INSERT") -> Iterator[None]:
    """A trigger of the host's in the database that refuses the rows of this one."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.{column} = '{key}' THEN "
                "RAISE EXCEPTION 'no rows of this one'; END IF; RETURN NEW; END $$"
            )
            cursor.execute(f"CREATE TRIGGER refuse BEFORE {moment} ON {table} FOR EACH ROW EXECUTE FUNCTION refuse()")
        else:
            cursor.execute(
                f"CREATE TRIGGER refuse BEFORE {moment} ON {table} WHEN NEW.{column} = '{key.hex}' "
                "BEGIN SELECT RAISE(ABORT, 'no rows of this one'); END"
            )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(
                f"DROP TRIGGER refuse ON {table}" if connection.vendor == "postgresql" else "DROP TRIGGER refuse"
            )
            if connection.vendor == "postgresql":
                cursor.execute("DROP FUNCTION refuse")
