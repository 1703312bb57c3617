"""How the pipeline opens transactions, and what it does when the database says no."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from django.db import OperationalError, connections, router, transaction

from webhooks_app.models import Event

logger = logging.getLogger(__name__)

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


def in_fresh_transaction(work: Callable[[], Result], using: str, *, durable: bool = True) -> Result:
    """Run `work` in a transaction of its own; after a deadlock or a serialisation failure, again in a fresh one.

    `durable=False`: on PostgreSQL its COMMIT does not wait for the disk. Right for what is done again if the database's
    machine dies within that half second (fan-out, leases); a later durable commit makes it durable too.
    """
    for attempt in range(1, _TRIES + 1):
        try:
            with write(using):
                if not durable and is_postgresql(using):
                    with connections[using].cursor() as cursor:
                        cursor.execute("SET LOCAL synchronous_commit = off")
                return work()
        except OperationalError as error:
            if attempt == _TRIES or not is_transient(error):
                raise
            logger.info("webhooks: the database asked to try again (%s)", type(error.__cause__).__name__)
            time.sleep(random.uniform(0.002, 0.02) * attempt)
    raise AssertionError("unreachable")


def is_transient(error: OperationalError) -> bool:
    """Is it a deadlock, a serialisation failure or a lock that was busy?"""
    cause = error.__cause__
    if getattr(cause, "sqlstate", None) in _TRANSIENT_STATES:
        return True
    if cause is not None and cause.args and cause.args[0] in _TRANSIENT_NUMBERS:
        return True
    return "database is locked" in str(error) or "database table is locked" in str(error)


def skips_locked(using: str) -> bool:
    """Can this database pass over rows that another transaction has locked?"""
    return connections[using].features.has_select_for_update_skip_locked


def is_postgresql(using: str) -> bool:
    return connections[using].vendor == "postgresql"
