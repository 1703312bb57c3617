"""What an error of the database means: an outage, a lock, tables of another version, or a fault of the statement."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
)

from webhooks_app.database_errors import is_lock_timeout, is_outage, is_schema_fault, is_transient, lacks_a_value

OUTAGE, BUSY, SCHEMA, STATEMENT = "outage", "busy", "schema", "statement"

POSTGRESQL = {
    OUTAGE: "08000 08001 08003 08004 08006 08P01 25006 25P03 28000 28P01 3D000 53000 53100 53200 53300 57P01 57P02 57P03 "
    "57P04 57P05 58000 58030",
    BUSY: "40001 40P01 55P03",
    SCHEMA: "42501 42703 42P01 42883 42804",
    STATEMENT: "0A000 21000 22001 22003 22021 22P02 22P05 23502 23503 23505 23514 25P02 25P04 53400 54000 55000 57014 P0001 "
    "XX000 XX001",
}
MYSQL = {
    OUTAGE: "1021 1026 1037 1040 1041 1043 1044 1045 1047 1049 1053 1114 1129 1130 1135 1152 1158 1159 1160 1161 1184 1203 "
    "1226 1290 1637 1792 1836 1927 2001 2002 2003 2004 2005 2006 2012 2013 2026 2055 3032 4031",
    BUSY: "1020 1205 1213",
    SCHEMA: "1054 1142 1143 1146",
    # Among these: 1030 of one table's engine, 1153 too large a packet, 1206 too many locks, 1317 and 1969 and 3024 a query
    # that was killed or took too long, 1364 no default, 1366 a wrong value, 1406 too long, 1644 SIGNAL of a trigger.
    STATEMENT: "1030 1038 1048 1062 1064 1153 1206 1264 1292 1317 1364 1366 1406 1452 1644 1690 1969 3024 3819 4025",
}


class Cause(Exception):
    def __init__(self, *args: object, **values: Any) -> None:
        super().__init__(*args)
        vars(self).update(values)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def meaning(error: Exception) -> str:
    found = [
        name
        for name, holds in ((OUTAGE, is_outage(error)), (BUSY, is_transient(error)), (SCHEMA, is_schema_fault(error)))
        if holds
    ]
    assert len(found) <= 1, found
    return found[0] if found else STATEMENT


def cases(table: dict[str, str]) -> list[tuple[str, str]]:
    return [(code, wanted) for wanted, codes in table.items() for code in codes.split()]


@pytest.mark.parametrize("attribute", ["sqlstate", "pgcode"], ids=["psycopg", "psycopg2"])
@pytest.mark.parametrize(("state", "wanted"), cases(POSTGRESQL))
def test_sqlstates_of_postgresql(state: str, wanted: str, attribute: str) -> None:
    assert meaning(caused(OperationalError("x"), Cause("x", **{attribute: state}))) == wanted


@pytest.mark.parametrize(("number", "wanted"), cases(MYSQL))
def test_error_numbers_of_mysql_and_mariadb(number: str, wanted: str) -> None:
    assert meaning(caused(OperationalError(int(number), "x"), Cause(int(number), "x"))) == wanted


@pytest.mark.parametrize("kind", [DataError, IntegrityError, InternalError, NotSupportedError, ProgrammingError])
def test_other_classes_of_errors_are_the_statements(kind: type[Exception]) -> None:
    assert meaning(kind("x")) == STATEMENT
    assert meaning(caused(kind("x"), Cause(1366, "x"))) == STATEMENT


def test_an_error_without_a_code_comes_from_a_connection_that_is_lost() -> None:
    assert meaning(OperationalError("the connection was lost")) == OUTAGE
    assert meaning(caused(OperationalError("x"), Cause("connection failed", sqlstate=None))) == OUTAGE
    assert meaning(InterfaceError("connection already closed")) == OUTAGE
    assert meaning(DatabaseError("x")) == STATEMENT
    assert meaning(ValueError("x")) == STATEMENT


@pytest.mark.parametrize("state", ["55P03", 1205])
def test_a_lock_that_was_not_to_be_had(state: str | int) -> None:
    cause = Cause("x", sqlstate=state) if isinstance(state, str) else Cause(state, "x")
    assert is_lock_timeout(caused(OperationalError("x"), cause))
    assert not is_lock_timeout(caused(OperationalError("x"), Cause(1213, "x")))


@pytest.mark.parametrize(
    ("cause", "wanted"),
    [
        (Cause("x", sqlstate="23502"), True),
        (Cause("x", sqlstate="23505"), False),
        (Cause("x", sqlite_errorname="SQLITE_CONSTRAINT_NOTNULL"), True),
        (Cause("x", sqlite_errorname="SQLITE_CONSTRAINT_CHECK"), False),
        (Cause(1364, "Field 'x' doesn't have a default value"), True),
        (Cause(1048, "Column 'x' cannot be null"), False),
    ],
)
def test_a_column_that_got_no_value(cause: Exception, wanted: bool) -> None:
    assert lacks_a_value(caused(IntegrityError("x"), cause)) is wanted


SQLITE = {
    "disk I/O error": ("SQLITE_IOERR_WRITE", OUTAGE),
    "database or disk is full": ("SQLITE_FULL", OUTAGE),
    "unable to open database file": ("SQLITE_CANTOPEN", OUTAGE),
    "attempt to write a readonly database": ("SQLITE_READONLY", OUTAGE),
    "file is not a database": ("SQLITE_NOTADB", OUTAGE),
    "interrupted": ("SQLITE_INTERRUPT", STATEMENT),
    "string or blob too big": ("SQLITE_TOOBIG", STATEMENT),
    "too many SQL variables": ("SQLITE_ERROR", STATEMENT),
    "no such table: webhooks_app_attempt": ("SQLITE_ERROR", SCHEMA),
    "no such column: detail": ("SQLITE_ERROR", SCHEMA),
    "table webhooks_app_attempt has no column named detail": ("SQLITE_ERROR", SCHEMA),
}


@pytest.mark.parametrize(("message", "name", "wanted"), [(key, *value) for key, value in SQLITE.items()], ids=SQLITE)
def test_messages_of_sqlite(message: str, name: str, wanted: str) -> None:
    assert meaning(caused(OperationalError(message), Cause(message, sqlite_errorname=name))) == wanted


def test_real_errors_of_sqlite(tmp_path: Any) -> None:
    """Its library's own codes."""
    path = tmp_path / "db"
    first, second = sqlite3.connect(path, isolation_level=None), sqlite3.connect(path, timeout=0)
    first.execute("CREATE TABLE t (n INTEGER CHECK (n < 5))")
    first.execute("CREATE TRIGGER r BEFORE INSERT ON t WHEN NEW.n = 3 BEGIN SELECT RAISE(ABORT, 'no'); END")
    wanted = {
        "INSERT INTO u VALUES (1)": SCHEMA,
        "INSERT INTO t (m) VALUES (1)": SCHEMA,
        "INSERT INTO t VALUES (3)": STATEMENT,
        "INSERT INTO t VALUES (7)": STATEMENT,
    }
    for statement, meant in wanted.items():
        with pytest.raises(sqlite3.Error) as caught:
            first.execute(statement)
        assert meaning(caused(OperationalError(str(caught.value)), caught.value)) == meant, statement
    first.execute("CREATE TABLE w (n INTEGER, new INTEGER NOT NULL)")
    with pytest.raises(sqlite3.Error) as caught:
        first.execute("INSERT INTO w (n) VALUES (1)")
    assert lacks_a_value(caused(IntegrityError(str(caught.value)), caught.value))
    first.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError) as busy:
        second.execute("BEGIN IMMEDIATE")
    error = caused(OperationalError(str(busy.value)), busy.value)
    assert is_transient(error)
    assert is_outage(error), "one writer blocks all others: no row is at fault"
    first.close()
    second.close()
