"""Triggers, columns and policies of the host's that refuse rows."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection


def refused(table: str, column: str, key: uuid.UUID, moment: str = "INSERT") -> contextlib.AbstractContextManager[None]:
    """A trigger of the host's in the database that refuses the rows of this one."""
    return _trigger(table, column, key, moment, "RAISE EXCEPTION 'no rows of this one'", "ABORT, 'no rows of this one'")


def all_refused(table: str, moment: str = "INSERT") -> contextlib.AbstractContextManager[None]:
    """A trigger of the host's in the database that refuses every row."""
    return _trigger(table, "", None, moment, "RAISE EXCEPTION 'no rows at all'", "ABORT, 'no rows at all'")


def ignored(table: str, column: str, key: uuid.UUID, moment: str = "INSERT") -> contextlib.AbstractContextManager[None]:
    """A trigger of the host's in the database that passes over the rows of this one without a word."""
    return _trigger(table, column, key, moment, "RETURN NULL", "IGNORE")


@contextmanager
def _trigger(
    table: str, column: str, key: uuid.UUID | None, moment: str, in_postgresql: str, in_sqlite: str
) -> Iterator[None]:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            condition = "true" if key is None else f"NEW.{column} = '{key}'"
            cursor.execute(
                f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF {condition} THEN "
                f"{in_postgresql}; END IF; RETURN NEW; END $$"
            )
            cursor.execute(f"CREATE TRIGGER refuse BEFORE {moment} ON {table} FOR EACH ROW EXECUTE FUNCTION refuse()")
        else:
            condition = "1" if key is None else f"NEW.{column} = '{key.hex}'"
            cursor.execute(
                f"CREATE TRIGGER refuse BEFORE {moment} ON {table} WHEN {condition} "
                f"BEGIN SELECT RAISE({in_sqlite}); END"
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


@contextmanager
def host_column(column: str, pattern: str) -> Iterator[None]:
    """A column that the host generates from the attempts' URLs (PostgreSQL): rows whose URL does not match are refused."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"ALTER TABLE webhooks_app_attempt ADD COLUMN {column} text "
            f"GENERATED ALWAYS AS (substring(url from '{pattern}')) STORED NOT NULL"
        )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE webhooks_app_attempt DROP COLUMN {column}")


@contextmanager
def row_level_security(table: str, check: str) -> Iterator[None]:
    """A policy of the host's that refuses rows of `table` for which `check` is false (PostgreSQL). This connection obeys it."""
    role = f"obeys_{connection.settings_dict['NAME']}"  # roles belong to the server, not to one database
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {role}")
        cursor.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
        cursor.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}")
        cursor.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        cursor.execute(f"CREATE POLICY refuse ON {table} USING (true) WITH CHECK ({check})")
        cursor.execute(f"SET ROLE {role}")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET ROLE")
            cursor.execute(f"DROP POLICY refuse ON {table}")
            cursor.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
            cursor.execute(f"DROP OWNED BY {role}")
            cursor.execute(f"DROP ROLE {role}")


@contextmanager
def before_its_migration(table: str, column: str) -> Iterator[None]:
    """The code is deployed, and the column that it writes is not there yet."""
    rename = f"ALTER TABLE {table} RENAME COLUMN {{}} TO {{}}"
    with connection.cursor() as cursor:
        cursor.execute(rename.format(column, "not_yet"))
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(rename.format("not_yet", column))
