"""How the pipeline opens transactions, and what it does when the database says no."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar
from weakref import WeakSet

from django.db import OperationalError, connections, router, transaction

from webhooks_app.models import Event

logger = logging.getLogger(__name__)

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

#: SQLSTATEs of PostgreSQL and error numbers of MySQL that say: nothing is wrong with the statement, do it again.
_TRANSIENT_STATES = frozenset({"40001", "40P01", "55P03"})
_TRANSIENT_NUMBERS = frozenset({1205, 1213})
_TRIES = 6


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


#: Connections on which a COMMIT does not wait for the disk.
_relaxed: WeakSet[Any] = WeakSet()


def relax(using: str) -> None:
    """On PostgreSQL: let the commits of this thread's connection not wait for the disk, unless they ask to.

    Right for an engine, whose leases and fan-outs are simply done again if the database's machine dies within that half
    second. What is recorded asks to (`durable`), and makes all commits before it durable too.
    """
    if is_postgresql(using):
        with connections[using].cursor() as cursor:
            cursor.execute("SET synchronous_commit = off")
        _relaxed.add(connections[using])


def in_fresh_transaction(work: Callable[[], Result], using: str, *, durable: bool = False) -> Result:
    """Run `work` in a transaction of its own; after a deadlock or a serialisation failure, again in a fresh one. Inside a
    transaction of the caller's there is no fresh one: then the error is the caller's, too.

    `durable` matters on relaxed connections only: this COMMIT waits for the disk all the same.
    """
    tries = 1 if connections[using].in_atomic_block else _TRIES
    for attempt in range(1, tries + 1):
        try:
            with write(using):
                if durable and connections[using] in _relaxed:
                    with connections[using].cursor() as cursor:
                        cursor.execute("SET LOCAL synchronous_commit TO DEFAULT")
                return work()
        except OperationalError as error:
            if attempt == tries or not is_transient(error):
                raise
            logger.info("webhooks: the database asked to try again (%s)", type(error.__cause__).__name__)
            time.sleep(random.uniform(0.002, 0.02) * attempt)
    raise AssertionError("unreachable")


def in_one_transaction(act: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Decorator: each call is one transaction on the pipeline's database, as `in_fresh_transaction` makes them."""

    @wraps(act)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        return in_fresh_transaction(partial(act, *args, **kwargs), pipeline_alias())

    return run


def is_transient(error: OperationalError) -> bool:
    """Is it a deadlock, a serialisation failure or a lock that was busy?"""
    cause = error.__cause__
    if getattr(cause, "sqlstate", None) in _TRANSIENT_STATES:
        return True
    if cause is not None and cause.args and cause.args[0] in _TRANSIENT_NUMBERS:
        return True
    return "database is locked" in str(error) or "database table is locked" in str(error)


def is_postgresql(using: str) -> bool:
    return connections[using].vendor == "postgresql"
