"""The database probes of `/healthz` and `/readyz`, with a time limit.

A probe runs in a thread with its own connection. Requests that arrive while it runs share its result, so a hanging database
costs only one thread and one connection, however often the probe is called.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock, Thread

from django.db import Error as DatabaseError
from django.db import connections
from django.db.migrations.executor import MigrationExecutor

from webhooks_app.core.installation_health import health_findings
from webhooks_app.models.database import database_alias
from webhooks_app.telemetry.installation_state import bounded, limits, read_installation_state

logger = logging.getLogger(__name__)

#: No statement, and no probe as a whole, takes longer than this (seconds).
STATEMENT_SECONDS = 1.0
PROBE_SECONDS = 2.0

#: Names of the checks that fail; empty: all is well.
Failed = list[str]


class Probe:
    """A probe that runs at most once at a time."""

    def __init__(self, name: str, ask: Callable[[], Failed]) -> None:
        self._name = name
        self._ask = ask
        self._lock = Lock()
        self._running: Future[Failed] | None = None

    def failed(self) -> Failed:
        """Return the names of the checks that fail; ["database"] if there is no result in time."""
        with self._lock:
            if self._running is None:
                self._running = Future()
                Thread(target=self._run, args=(self._running,), name=f"webhooks-{self._name}", daemon=True).start()
            running = self._running
        try:
            return running.result(PROBE_SECONDS)
        except TimeoutError:
            logger.warning("webhooks: %s got no answer from the database in %g s", self._name, PROBE_SECONDS)
            return ["database"]

    def _run(self, future: Future[Failed]) -> None:
        try:
            failed = self._ask()
        except DatabaseError:
            logger.warning("webhooks: %s could not ask the database", self._name, exc_info=True)
            failed = ["database"]
        except Exception:
            logger.exception("webhooks: %s failed", self._name)
            failed = [self._name]
        finally:
            connections.close_all()
            with self._lock:
                self._running = None
        future.set_result(failed)


def _database_answers() -> Failed:
    using = database_alias()
    with bounded(using, STATEMENT_SECONDS), connections[using].cursor() as cursor:
        cursor.execute("SELECT 1")
    return []


def _ready() -> Failed:
    using = database_alias()
    with bounded(using, STATEMENT_SECONDS):
        if not _migrated(using):
            return ["migrations"]
        found = health_findings(read_installation_state(), limits())
    return [finding.check for finding in found if finding.check == "engines"]


#: Databases whose migrations were found applied. That does not change while the process runs.
_known_as_migrated: set[str] = set()


def _migrated(using: str) -> bool:
    if using not in _known_as_migrated:
        executor = MigrationExecutor(connections[using])
        newest = [node for node in executor.loader.graph.leaf_nodes() if node[0] == "webhooks_app"]
        if executor.migration_plan(newest):
            return False
        _known_as_migrated.add(using)
    return True


health = Probe("healthz", _database_answers)
readiness = Probe("readyz", _ready)
