"""Databases that fail at the worst moment: real ones, whose answer is lost on a thread of the engine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from webhooks_app.db import write
from webhooks_app.models import Delivery

DATABASE_THREAD = "webhooks-database"
HEARTBEAT_THREAD = "webhooks-heartbeat"
Execute = Callable[..., Any]


@contextmanager
def watched_statements(see: Callable[[str], None], thread: str | None = DATABASE_THREAD) -> Iterator[None]:
    """Show every statement to `see`, which may raise: those of the engines' database threads, or (None) of all threads."""
    with pytest.MonkeyPatch.context() as patch:
        for cursor, name in _routes():
            patch.setattr(cursor, name, _watched(getattr(cursor, name), see, thread))
        yield


def _routes() -> list[tuple[type, str]]:
    """What every statement passes. The fast path's own cursors know nothing of Django's `execute_wrappers`."""
    if connection.vendor == "postgresql":
        import psycopg

        return [(psycopg.Cursor, name) for name in ("execute", "executemany", "copy")]
    return [(CursorWrapper, name) for name in ("execute", "executemany")]


def _watched(original: Execute, see: Callable[[str], None], thread: str | None) -> Execute:
    def execute(cursor: Any, statement: Any, *args: Any, **options: Any) -> Any:
        if thread in (None, threading.current_thread().name):
            see(str(statement))
        return original(cursor, statement, *args, **options)

    return execute


class Outage:
    """Breaks the connection once, in the transaction of the first statement of this thread that has all of `words` in it."""

    def __init__(self, *words: str, thread: str = DATABASE_THREAD) -> None:
        self._words = words
        self.thread = thread
        self._armed = False
        self.happened = False

    def at_the_statement(self, sql: str) -> None:
        if self._is_it(sql):
            self.happened = True
            raise OperationalError("the connection was lost")

    def before_the_commit(self, sql: str) -> None:
        self._armed = self._armed or self._is_it(sql)

    def strike(self) -> None:
        """At a COMMIT."""
        if self._armed and not self.happened and threading.current_thread().name == self.thread:
            self.happened = True
            raise OperationalError("the connection was lost")

    def _is_it(self, sql: str) -> bool:
        return not self.happened and all(word in sql for word in self._words)


@contextmanager
def broken(outage: Outage, moment: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`moment`: "statement", "commit" (it does not happen) or "answer" (it happens, but nobody hears of it)."""
    if moment == "statement":
        with watched_statements(outage.at_the_statement, outage.thread):
            yield
        return
    commit = BaseDatabaseWrapper._commit

    def break_at_commit(self: BaseDatabaseWrapper) -> None:
        if moment == "commit":
            outage.strike()
        commit(self)
        if moment == "answer":
            outage.strike()

    monkeypatch.setattr(BaseDatabaseWrapper, "_commit", break_at_commit)
    with watched_statements(outage.before_the_commit, outage.thread):
        yield


@contextmanager
def stalled_database() -> Iterator[None]:
    """Nobody can record anything meanwhile."""
    with write("default"):
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("LOCK TABLE webhooks_app_attempt IN ACCESS EXCLUSIVE MODE")
        elif connection.vendor == "mysql":
            list(Delivery.objects.select_for_update())  # what is recorded changes one of them
        yield
