"""The clock and the database of simulated engines: both do what a test says, and the database fails where it says so."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from django.db import OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper

from tests.outages import watched_statements
from webhooks_app.engine import sweep
from webhooks_app.models import Endpoint, times

if TYPE_CHECKING:
    from tests.engine_machine import SimulatedEngine


class Clock:
    """The database's clock and the monotonic one of this process. Both stand still until the test moves them."""

    def __init__(self) -> None:
        # Ahead of the true time, which the database writes where a column has it as its default.
        self._began = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0)
        self._milliseconds = 0

    def forward(self, seconds: float) -> None:
        self._milliseconds += max(round(seconds * 1000), 1)

    def now(self) -> datetime:
        return self._began + timedelta(milliseconds=self._milliseconds)

    def monotonic(self) -> float:
        return 1e6 + self._milliseconds / 1000

    def __getitem__(self, vendor: str) -> str:
        """The statement that asks a database for its time."""
        text = self.now().strftime("%Y-%m-%d %H:%M:%S.%f")
        return f"SELECT TIMESTAMPTZ '{text}+00'" if vendor == "postgresql" else f"SELECT '{text[:-3]}'"


class _Reason(Exception):
    """The driver's error behind Django's."""

    def __init__(self, sqlstate: str) -> None:
        self.sqlstate = sqlstate


#: What may go wrong at a statement, by the SQLSTATE that it is reported with. None: the connection is lost.
STATEMENT_FAULTS = {"lost": None, "locked": "55P03", "deadlock": "40P01"}


@dataclass
class Disturbance:
    """What happens once, while an engine uses the database.

    `kind`: one of STATEMENT_FAULTS, at the `nth` statement; "commit" or "answer", before or after the `nth` COMMIT (the
    second loses only the acknowledgement); "between", `act` at the `nth` point outside a transaction; or "during", `act`
    at the `nth` statement.
    """

    kind: str
    nth: int
    act: Callable[[SimulatedEngine], object]


class Wire:
    """The way to the database, on which disturbances strike."""

    def __init__(self) -> None:
        self._plan: Disturbance | None = None
        self._count = 0
        self._user: SimulatedEngine | None = None

    def arm(self, plan: Disturbance) -> None:
        """The next one to strike. Another one that has not struck yet is given up."""
        self._plan, self._count = plan, 0

    @contextmanager
    def used_by(self, user: SimulatedEngine | None) -> Iterator[None]:
        """Disturbances strike in here only; their acts are called with `user`."""
        self._user = user
        try:
            yield
        finally:
            self._user = None

    @contextmanager
    def installed(self, patch: pytest.MonkeyPatch, clock: Clock) -> Iterator[None]:
        patch.setattr(time, "monotonic", clock.monotonic)
        patch.setattr(times, "_NOW_SQL", clock)
        patch.setattr(sweep, "time", SimpleNamespace(sleep=lambda seconds: None))  # no engine beats meanwhile
        commit, autocommit = BaseDatabaseWrapper._commit, BaseDatabaseWrapper.set_autocommit

        def commit_disturbed(wrapper: BaseDatabaseWrapper) -> None:
            if self._is_time("commit"):
                raise OperationalError("the connection was lost")
            commit(wrapper)
            if self._is_time("answer"):
                raise OperationalError("the connection was lost")

        def begin_disturbed(wrapper: BaseDatabaseWrapper, on: bool, **options: Any) -> None:
            if not on:
                self._meet("between")
            autocommit(wrapper, on, **options)

        patch.setattr(BaseDatabaseWrapper, "_commit", commit_disturbed)
        patch.setattr(BaseDatabaseWrapper, "set_autocommit", begin_disturbed)
        with watched_statements(self._see, thread=None):
            yield

    def _see(self, sql: str) -> None:
        for kind, sqlstate in STATEMENT_FAULTS.items():
            if self._is_time(kind):
                raise OperationalError(kind) from (_Reason(sqlstate) if sqlstate else None)
        self._meet("during")
        if not connection.in_atomic_block and not sql.startswith("BEGIN"):
            self._meet("between")

    def _meet(self, kind: str) -> None:
        plan, user = self._plan, self._user
        if plan is not None and self._is_time(kind):
            with self.used_by(None):
                plan.act(user)
            self._user = user

    def _is_time(self, kind: str) -> bool:
        if self._user is None or self._plan is None or self._plan.kind != kind:
            return False
        self._count += 1
        if self._count < self._plan.nth:
            return False
        self._plan = None
        return True


class RowLock:
    """A transaction on a connection of its own that holds rows for a while; for PostgreSQL."""

    TABLES = ("endpointqueue", "endpoint", "delivery", "tenant", "event")
    _COLUMNS = {"endpoint": "id", "tenant": "id", "event": "tenant_id"}

    def __init__(self) -> None:
        self._held: Any = None

    def take(self, table: str, endpoint: Endpoint) -> None:
        self.release()
        self._held = connection.get_new_connection(connection.get_connection_params())
        column = self._COLUMNS.get(table, "endpoint_id")
        key = endpoint.tenant_id if table in ("tenant", "event") else endpoint.pk
        query = f"SELECT 1 FROM webhooks_app_{table} WHERE {column} = %s FOR NO KEY UPDATE"
        self._held.execute(query, [key])

    def release(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None
