"""Transactions on the app's database. `using` is its alias; functions called without one ask the host's routers."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial, wraps
from typing import Any, ParamSpec, TypeVar

from django.db import OperationalError, connections, transaction
from django.db.models import Model

from webhooks_app.database_errors import is_lock_timeout, is_outage, is_transient
from webhooks_app.log_thread import engine_logger
from webhooks_app.models.database import database_alias
from webhooks_app.tracebacks import hide_locals

logger = engine_logger(__name__)

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Key = TypeVar("Key")

_TRIES = 6

#: The maximum time that an engine's statement waits for a lock (seconds).
LOCK_TIMEOUT = 0.05


@contextmanager
def write(using: str | None = None) -> Iterator[None]:
    """Open a short transaction that writes. On SQLite it takes the write lock at the start (BEGIN IMMEDIATE): a transaction that
    reads first and requests the lock later fails at once if another writer was faster, regardless of the busy timeout."""
    using = using or database_alias()
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
    work: Callable[[], Result],
    using: str | None = None,
    *,
    relaxed: bool = False,
    lock_timeout: float | None = None,
    walks_index: bool = False,
) -> Result:
    """Run `work` in a transaction of its own, and again in a new one after a deadlock or a serialisation failure.

    Inside a transaction of the caller there is no retry: the caller gets the error. On PostgreSQL:
    `relaxed`: the COMMIT does not wait for the disk. `lock_timeout`: seconds that a statement may wait for a lock; then
    OperationalError (see `is_lock_timeout`) is raised without a retry. It also disables JIT compilation, which is slow if
    the statistics are outdated. `walks_index`: rows are read in the order of an index, without sorting.
    These settings last for this transaction only: the connection may belong to a pool, and
    they would affect the host's own transactions.
    """
    alias = using or database_alias()

    def transaction_of_its_own() -> Result:
        with write(alias):
            _set_local(alias, relaxed=relaxed, lock_timeout=lock_timeout, walks_index=walks_index)
            return work()

    return with_retries(transaction_of_its_own, alias, lock_timeout=lock_timeout)


def with_retries(work: Callable[[], Result], using: str, *, lock_timeout: float | None) -> Result:
    """Run `work`, a whole transaction, and retry it after a deadlock or a serialisation failure. With `lock_timeout`, lock
    timeouts are not retried. Inside a transaction of the caller it runs once."""
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
    """Run `work`, which only reads, waiting at most LOCK_TIMEOUT for a table that a migration has locked. Raises
    OperationalError then (see `is_lock_timeout`). Uses a transaction on PostgreSQL only."""
    if not is_postgresql(using):
        return work()
    return in_fresh_transaction(work, using, lock_timeout=LOCK_TIMEOUT)


def _set_local(using: str, *, relaxed: bool, lock_timeout: float | None, walks_index: bool) -> None:
    """Apply the settings of this transaction, in one round trip."""
    if not is_postgresql(using) or not (relaxed or lock_timeout or walks_index):
        return
    with connections[using].cursor() as cursor:
        settings = local_settings(
            relaxed=relaxed, lock_timeout=lock_timeout, walks_index=walks_index, sorts=not walks_index
        )
        cursor.execute(settings)


@cache
def local_settings(
    *, relaxed: bool = False, lock_timeout: float | None = None, walks_index: bool = False, sorts: bool = True
) -> str:
    """Return the PostgreSQL statement that applies these settings; see `in_fresh_transaction`. `walks_index`: disable plans
    that read whole tables or bitmaps of them, which the planner may choose if it considers the tables small. `sorts`: False
    disables plans that sort, for a statement that needs none.

    One statement, and not several `SET LOCAL`: with `server_side_binding` and `prepare_threshold` in the host's OPTIONS
    statements are prepared, and only single ones can be."""
    chosen = {}
    if relaxed:
        chosen["synchronous_commit"] = "off"
    if lock_timeout:
        chosen["lock_timeout"] = f"{max(round(lock_timeout * 1000), 1)}ms"
        chosen["jit"] = "off"
    if walks_index:
        chosen |= {"enable_seqscan": "off", "enable_bitmapscan": "off"}
    if not sorts:
        chosen["enable_sort"] = "off"
    return "SELECT " + ", ".join(f"set_config('{name}', '{value}', true)" for name, value in chosen.items())


def divided(
    work: Callable[[list[Key]], object],
    keys: Iterable[Key],
    on_fault: Callable[[Key, Exception], object],
    *,
    seconds: float = math.inf,
) -> list[Key]:
    """Run `work` for all keys at once. If the database refuses that, halve the keys until the failing one is alone, call
    `on_fault` for it, and process the others. Outages and busy locks are raised, because no key is the cause.

    `seconds`: how long to halve, because hundreds of keys may fail; at least until the first of them is found. Return the keys
    that were not processed in that time."""
    waiting, until, found = [list(keys)], time.monotonic() + seconds, False
    while waiting:
        if found and time.monotonic() > until:
            return [key for some in waiting for key in some]
        some = waiting.pop()
        try:
            if some:
                work(some)
        except Exception as error:
            if is_outage(error) or is_transient(error):
                raise
            if len(some) == 1:
                found = True
                on_fault(some[0], error)
            else:
                middle = len(some) // 2
                waiting += [some[middle:], some[:middle]]
    return []


def in_one_transaction(act: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Decorator: run each call in one transaction on the app's database; see `in_fresh_transaction`."""

    @wraps(act)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return in_fresh_transaction(partial(act, *args, **kwargs))
        except BaseException as error:
            hide_locals(error)
            del args, kwargs  # these, too: they may contain secrets
            raise

    return run


def insert_row(model: type[Model], using: str, values: Mapping[str, object]) -> None:
    """Insert a row without an instance of the model: creating one sends signals, and a receiver of the host may fail.

    `values`: one for each field that has no default in the database.
    """
    connection = connections[using]
    fields = [field for field in model._meta.concrete_fields if field.name in values]
    columns = ", ".join(connection.ops.quote_name(str(field.column)) for field in fields)
    places = ", ".join(["%s"] * len(fields))
    saved = [field.get_db_prep_save(values[field.name], connection) for field in fields]
    table = connection.ops.quote_name(model._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} ({columns}) VALUES ({places})", saved)  # noqa: S608


def is_postgresql(using: str | None = None) -> bool:
    return connections[using or database_alias()].vendor == "postgresql"
