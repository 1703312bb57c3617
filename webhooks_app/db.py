"""Transactions on the database that the app's tables are in, and what an error of that database means."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache, partial, wraps
from typing import Any, ParamSpec, TypeVar

from django.db import DatabaseError, InterfaceError, OperationalError, connections, router, transaction

from webhooks_app.log_thread import engine_logger
from webhooks_app.models import Event

logger = engine_logger(__name__)

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Key = TypeVar("Key")

#: "Nothing is wrong with the statement, do it again": SQLSTATEs of PostgreSQL, error numbers of MySQL and MariaDB.
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
#: Of these, the ones that say that a lock was not to be had in time.
_LOCK_TIMEOUTS = frozenset({"55P03", 1205})

#: "The connection or the server is of no use now", whatever the statement is. SQLSTATEs, in which two characters stand for
#: their whole class.
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
#: Inside these classes, what a limit of the host has stopped: another statement may stay within it.
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
#: "The tables or privileges do not fit this version of the app": the class of SQLSTATEs, and numbers of MySQL and MariaDB.
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
#: "A column that must have a value got none": SQLSTATE, SQLite's result code, and the number of MySQL and MariaDB.
_NO_VALUE = frozenset({"23502", "SQLITE_CONSTRAINT_NOTNULL", 1364})
_TRIES = 6

#: The longest that a statement of an engine waits for a lock (seconds).
LOCK_TIMEOUT = 0.05


def pipeline_alias() -> str:
    """The database that the events are in."""
    return router.db_for_write(Event)


@contextmanager
def write(using: str) -> Iterator[None]:
    """A short transaction that writes. On SQLite it takes the write lock at its beginning (BEGIN IMMEDIATE): a transaction
    that reads first and asks for the lock later fails at once when another writer was faster, busy timeout or not."""
    connection: Any = connections[using]  # `transaction_mode` is SQLite's own
    if connection.vendor != "sqlite":
        with transaction.atomic(using=using):
            yield
        return
    connection.ensure_connection()  # the attribute exists from then on
    configured = connection.transaction_mode
    connection.transaction_mode = "IMMEDIATE"
    try:
        with transaction.atomic(using=using):
            yield
    finally:
        connection.transaction_mode = configured


def in_fresh_transaction(
    work: Callable[[], Result], using: str, *, relaxed: bool = False, lock_timeout: float | None = None
) -> Result:
    """Run `work` in a transaction of its own; after a deadlock or a serialisation failure, again in a fresh one.

    Inside a transaction of the caller there is no fresh one: then the error is the caller's, too. On PostgreSQL:
    `relaxed`: the COMMIT does not wait for the disk. `lock_timeout`: seconds that a statement may wait for a lock; then
    OperationalError (see `is_lock_timeout`) is raised at once and not tried again. With it no statement is compiled (JIT):
    where statistics are old that takes longer than all else. These settings last for this transaction only, since the
    connection may belong to a pool: what outlived it would change the host's own transactions.
    """

    def transaction_of_its_own() -> Result:
        with write(using):
            _set_local(using, relaxed=relaxed, lock_timeout=lock_timeout)
            return work()

    return with_retries(transaction_of_its_own, using, lock_timeout=lock_timeout)


def with_retries(work: Callable[[], Result], using: str, *, lock_timeout: float | None) -> Result:
    """Do `work`, which is a whole transaction, again after a deadlock or a serialisation failure; with a `lock_timeout`, not
    after one of these. Inside a transaction of the caller it is done once."""
    tries = 1 if connections[using].in_atomic_block else _TRIES
    for attempt in range(1, tries + 1):
        try:
            return work()
        except OperationalError as error:
            gives_up = lock_timeout is not None and is_lock_timeout(error)
            if attempt == tries or gives_up or not is_transient(error):
                raise
            logger.info("webhooks: the database asked to try again (%s)", type(error.__cause__).__name__)
            time.sleep(random.uniform(0.002, 0.02) * attempt)
    raise AssertionError("unreachable")


def read(work: Callable[[], Result], using: str) -> Result:
    """Run `work`, which only reads, so that it waits at most LOCK_TIMEOUT for a table that a migration has locked; then
    OperationalError is raised (see `is_lock_timeout`). On PostgreSQL that takes a transaction; elsewhere there is none."""
    if not is_postgresql(using):
        return work()
    return in_fresh_transaction(work, using, lock_timeout=LOCK_TIMEOUT)


def _set_local(using: str, *, relaxed: bool, lock_timeout: float | None) -> None:
    """Settings of this one transaction, in one round trip."""
    if not is_postgresql(using) or not (relaxed or lock_timeout):
        return
    with connections[using].cursor() as cursor:
        cursor.execute(local_settings(relaxed=relaxed, lock_timeout=lock_timeout))


@cache
def local_settings(*, relaxed: bool = False, lock_timeout: float | None = None, walks_index: bool = False) -> str:
    """Return the statements of PostgreSQL that set these for the transaction; see `in_fresh_transaction`. `walks_index`: no
    plan reads whole tables or bitmaps of them, though the planner may think that they are small."""
    chosen = {}
    if relaxed:
        chosen["synchronous_commit"] = "off"
    if lock_timeout:
        chosen["lock_timeout"] = f"{max(round(lock_timeout * 1000), 1)}ms"
        chosen["jit"] = "off"
    if walks_index:
        chosen |= {"enable_seqscan": "off", "enable_bitmapscan": "off"}
    return "; ".join(f"SET LOCAL {name} = '{value}'" for name, value in chosen.items())


def divided(
    work: Callable[[list[Key]], object], keys: Iterable[Key], on_fault: Callable[[Key, Exception], object]
) -> None:
    """Do `work` for all keys at once; where the database refuses that, for halves of them, until the one to blame is alone:
    `on_fault` is called for it, and the others are done. An outage or a lock that is busy is raised: no key is to blame."""
    waiting = [list(keys)]
    while waiting:
        some = waiting.pop()
        try:
            if some:
                work(some)
        except Exception as error:
            if is_outage(error) or is_transient(error):
                raise
            if len(some) == 1:
                on_fault(some[0], error)
            else:
                middle = len(some) // 2
                waiting += [some[middle:], some[:middle]]


def in_one_transaction(act: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Decorator: each call is one transaction on the pipeline's database, as `in_fresh_transaction` makes them."""

    @wraps(act)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        return in_fresh_transaction(partial(act, *args, **kwargs), pipeline_alias())

    return run


def is_transient(error: BaseException) -> bool:
    """Return whether it is a deadlock, a serialisation failure or a lock that was busy."""
    if not isinstance(error, OperationalError):
        return False
    return _code(error) in _TRANSIENT or "database is locked" in str(error) or "database table is locked" in str(error)


def is_lock_timeout(error: BaseException) -> bool:
    """Return whether a statement gave up because another transaction holds a row or table that it needs."""
    return isinstance(error, OperationalError) and _code(error) in _LOCK_TIMEOUTS


def is_outage(error: BaseException) -> bool:
    """Return whether the database as a whole failed, so that no statement, row or event is to blame."""
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
    """Return whether a table, column or privilege is missing that a statement of this version needs, as it is for a while when
    the code is deployed before the migration: neither the database nor a row is to blame."""
    if not isinstance(error, DatabaseError):
        return False
    code = _code(error)
    if isinstance(code, int):
        return code in _SCHEMA_NUMBERS
    if code == "SQLITE_ERROR":
        return any(words in str(error) for words in _SCHEMA_MESSAGES)
    return code is not None and code.startswith(_SCHEMA_CLASS)


def lacks_a_value(error: BaseException) -> bool:
    """Return whether a column got no value that must have one. This version gives all of its columns a value, so it is one
    that this version does not know, and that has no default: the migration of the next version came before its code."""
    return isinstance(error, DatabaseError) and _code(error) in _NO_VALUE


def _code(error: BaseException) -> str | int | None:
    """The SQLSTATE, the name of SQLite's result code, or the error number of MySQL or MariaDB."""
    cause = error.__cause__
    for name in ("sqlstate", "pgcode", "sqlite_errorname"):  # of psycopg, psycopg2 and sqlite3
        value = getattr(cause, name, None)
        if isinstance(value, str):
            return value
    first = cause.args[0] if cause is not None and cause.args else None
    return first if isinstance(first, int) else None


def sql_state(error: BaseException) -> str | None:
    """Return the SQLSTATE of PostgreSQL's error behind Django's; None for other databases and errors."""
    code = _code(error)
    return code if isinstance(code, str) and not code.startswith("SQLITE_") else None


def is_postgresql(using: str) -> bool:
    return connections[using].vendor == "postgresql"
