"""Classify database errors."""

from __future__ import annotations

from django.db import DatabaseError, InterfaceError, OperationalError

#: Transient errors, after which the statement can be retried: SQLSTATEs of PostgreSQL, error numbers of MySQL and MariaDB.
_TRANSIENT = frozenset(
    {
        "40001",  # serialization failure
        "40P01",  # deadlock
        "55P03",  # lock not available
        1020,  # a row was changed since the snapshot (MariaDB with innodb_snapshot_isolation)
        1205,  # lock wait timeout
        1213,  # deadlock, and a conflict between the nodes of a cluster
    }
)
#: Those of them that mean that a lock could not be acquired in time.
_LOCK_TIMEOUTS = frozenset({"55P03", 1205})

#: Errors that mean that the connection or the server is unavailable, regardless of the statement. SQLSTATEs; two characters
#: stand for a whole class.
_OUTAGE_STATES = frozenset(
    {
        "08",  # connection exceptions
        "25006",  # read-only: a standby, after a failover
        "25P03",  # the server ended the session (idle_in_transaction_session_timeout)
        "28",  # the login was refused
        "3D",  # no such database
        "53",  # disk full, out of memory, too many connections
        "57",  # the server shuts down, has crashed or is starting
        "58",  # input and output errors of the server
    }
)
#: Exceptions in these classes: statements that one of the host's limits has stopped; another statement may stay within it.
_OF_THE_STATEMENT = frozenset(
    {
        "53400",  # a limit of the configuration (temp_file_limit)
        "57014",  # statement_timeout
    }
)
#: The same, as error numbers of MySQL and MariaDB (below 2000: the server's; from 2000: the client library's).
_OUTAGE_NUMBERS = frozenset(
    {
        1021,  # disk full
        1026,  # error writing a file
        1037,  # out of memory
        1040,  # too many connections
        1041,  # out of memory
        1043,  # bad handshake
        1044,  # access denied to the database
        1045,  # login refused
        1047,  # the node of a Galera cluster is not ready
        1049,  # no such database
        1053,  # server shutdown
        1114,  # table full: the disk, or the tablespace
        1129,  # this host is blocked after too many connection errors
        1130,  # this host may not connect
        1135,  # the server cannot create a thread
        1152,  # aborted connection
        1158,  # error reading from the network
        1159,  # timeout reading from the network
        1160,  # error writing to the network
        1161,  # timeout writing to the network
        1184,  # aborted connection
        1203,  # too many connections of this user
        1226,  # this user has used up a resource (queries or connections an hour)
        1290,  # read-only (or another option of the server)
        1637,  # too many transactions
        1792,  # read-only transaction
        1836,  # read-only mode
        1927,  # connection killed (MariaDB)
        2001,  # cannot create a socket
        2002,  # cannot connect through the socket
        2003,  # cannot connect
        2004,  # cannot create a socket
        2005,  # unknown host
        2006,  # server has gone away
        2012,  # error in the handshake
        2013,  # connection lost during the query
        2026,  # TLS error
        2055,  # connection lost
        3032,  # offline mode
        4031,  # disconnected after inactivity
    }
)
#: The same of SQLite: the beginnings of its result codes.
_OUTAGE_RESULTS = (
    "SQLITE_BUSY",
    "SQLITE_LOCKED",
    "SQLITE_CANTOPEN",
    "SQLITE_FULL",
    "SQLITE_IOERR",
    "SQLITE_NOMEM",
    "SQLITE_NOTADB",
    "SQLITE_PROTOCOL",
    "SQLITE_READONLY",
)
#: Tables or privileges that do not match this version of the app: the class of SQLSTATEs, and numbers of MySQL and MariaDB.
_SCHEMA_CLASS = "42"
_SCHEMA_NUMBERS = frozenset(
    {
        1054,  # unknown column
        1142,  # no privilege on the table
        1143,  # no privilege on the column
        1146,  # no such table
    }
)
_SCHEMA_MESSAGES = ("no such table", "no such column", "has no column named")  # of SQLite, which has no code for them
#: A NOT NULL column got no value: SQLSTATE, SQLite's result code, and the number of MySQL and MariaDB.
_NO_VALUE = frozenset({"23502", "SQLITE_CONSTRAINT_NOTNULL", 1364})


def is_transient(error: BaseException) -> bool:
    """Return whether it is a deadlock, a serialisation failure or a busy lock."""
    if not isinstance(error, OperationalError):
        return False
    return _code(error) in _TRANSIENT or "database is locked" in str(error) or "database table is locked" in str(error)


def is_lock_timeout(error: BaseException) -> bool:
    """Return whether a statement timed out because another transaction has locked a row or table that it needs."""
    return isinstance(error, OperationalError) and _code(error) in _LOCK_TIMEOUTS


def is_outage(error: BaseException) -> bool:
    """Return whether the database as a whole failed, so that no statement, row or event is the cause."""
    if isinstance(error, InterfaceError):
        return True
    if not isinstance(error, DatabaseError):
        return False
    code = _code(error)
    if code is None:  # the connection was lost before the server could answer, or there was none
        return isinstance(error, OperationalError)
    if isinstance(code, int):
        return code in _OUTAGE_NUMBERS
    if code in _OF_THE_STATEMENT:
        return False
    return code in _OUTAGE_STATES or code[:2] in _OUTAGE_STATES or code.startswith(_OUTAGE_RESULTS)


def is_schema_fault(error: BaseException) -> bool:
    """Return whether a table, column or privilege that this version needs is missing. This happens for a while if the code is
    deployed before the migration; neither the database nor a row is the cause."""
    if not isinstance(error, DatabaseError):
        return False
    code = _code(error)
    if isinstance(code, int):
        return code in _SCHEMA_NUMBERS
    if code == "SQLITE_ERROR":
        return any(words in str(error) for words in _SCHEMA_MESSAGES)
    return code is not None and code.startswith(_SCHEMA_CLASS)


def lacks_a_value(error: BaseException) -> bool:
    """Return whether a NOT NULL column got no value. This version sets all of its columns, so the column is unknown to this
    version and has no default: the migration of the next version was run before its code was deployed."""
    return isinstance(error, DatabaseError) and _code(error) in _NO_VALUE


def _code(error: BaseException) -> str | int | None:
    """Return the SQLSTATE, the name of SQLite's result code, or the error number of MySQL or MariaDB."""
    cause = error.__cause__
    for name in ("sqlstate", "pgcode", "sqlite_errorname"):  # of psycopg, psycopg2 and sqlite3
        value = getattr(cause, name, None)
        if isinstance(value, str):
            return value
    first = cause.args[0] if cause is not None and cause.args else None
    return first if isinstance(first, int) else None


def sql_state(error: BaseException) -> str | None:
    """Return the SQLSTATE of the PostgreSQL error behind Django's exception; None for other databases and errors."""
    code = _code(error)
    return code if isinstance(code, str) and not code.startswith("SQLITE_") else None


def one_line(error: BaseException) -> str:
    """Return the text of an error without its line breaks."""
    return " ".join(str(error).split())
