"""Hold results while the database schema and this version of the code do not match, as during a deployment."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence

from webhooks_app.database_errors import is_schema_fault, lacks_a_value
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.record_rows import rows_of
from webhooks_app.engine.types import Result

#: For how long (seconds) a tenant whose rows were refused counts as refused; beyond the pauses between its tries.
_REMEMBERED = 10.0

_UNKNOWN_COLUMN = (
    "a NOT NULL column of the database gets no value in rows of %d tenant(s); %d result(s) wait in memory until such rows of any "
    "tenant are accepted. If it is a column that this version does not know and that has no default: start the version that "
    "`migrate` was run for, or give the column a default"
)
_MISSING = (
    "the database refuses rows of %d tenant(s) with an error that a missing table, column or privilege causes; %d result(s) wait "
    "in memory until such rows of any tenant are accepted: was `migrate` run?"
)


class SchemaWait:
    """Decides for which errors the results of one engine wait."""

    def __init__(self, options: EngineOptions, faults: FaultLog) -> None:
        self._seconds = options.unknown_column_seconds
        self._faults = faults
        #: Until when they wait for code that knows a column (monotonic); None if no column was unknown yet.
        self._unknown_column_until: float | None = None
        #: Tenants with rows that were refused with such errors, and when the last time (monotonic).
        self._refused: dict[uuid.UUID, float] = {}
        #: Deliveries whose results were refused with such errors, and wait.
        self._refused_results: set[uuid.UUID] = set()
        #: Whether results may still wait.
        self._waiting = False
        #: The kinds of rows that were accepted since the last of these tenants was added: they fit the schema.
        self._accepted: set[str] = set()

    def waits(self, error: Exception, result: Result) -> bool:
        """Return whether the deployment in progress will fix this error, so that no row of the result is dropped for it.

        What is missing in the database comes with `migrate`. A column that this version does not know is mended by the next
        version, which replaces this process: so that is waited for only once and for a while, or endpoints would get nothing
        more. Nothing is waited for if the database has meanwhile accepted rows of the same kinds: then this row is the
        cause, for example by a policy of row-level security or a column that the host generates.
        """
        if not (is_schema_fault(error) or lacks_a_value(error)):
            return False
        self._note_refused(result.config.tenant_id)
        waits = self._may_be_the_schema(error, result)
        change = self._refused_results.add if waits else self._refused_results.discard
        change(result.delivery.delivery_id)
        return waits

    def _may_be_the_schema(self, error: Exception, result: Result) -> bool:
        if rows_of(result) <= self._accepted:
            self._unknown_column_until = None  # it was not waited for
            return False
        if not lacks_a_value(error):
            return True
        if self._unknown_column_until is None:
            self._unknown_column_until = time.monotonic() + self._seconds
        return time.monotonic() < self._unknown_column_until

    def _note_refused(self, tenant_id: uuid.UUID) -> None:
        now = time.monotonic()
        if self._refused.get(tenant_id, 0.0) < now - _REMEMBERED:
            self._refused = {key: at for key, at in self._refused.items() if at >= now - _REMEMBERED}
            self._accepted.clear()
        self._refused[tenant_id] = now

    def note_accepted(self, batch: Sequence[Result]) -> set[uuid.UUID]:
        """Note that the database has accepted all rows of these results. Return the tenants whose results need no longer wait: as
        soon as rows of a refused tenant are accepted, the schema probably fits again."""
        if not self._refused:
            return set()
        self._accepted.update(*map(rows_of, batch))
        follow: set[uuid.UUID] = set()
        if self._waiting and any(result.config.tenant_id in self._refused for result in batch):
            self._waiting = False
            follow = set(self._refused)
        if any(result.delivery.delivery_id in self._refused_results for result in batch):
            # Its rows were refused, and are accepted now: so the schema was the cause, and may be again. What has been accepted
            # is no proof of what will be refused from now on.
            for forgotten in (self._refused, self._refused_results, self._accepted):
                forgotten.clear()
        return follow

    def report(self, error: Exception, waiting: int) -> None:
        """Log why `waiting` results wait, and what to do."""
        self._waiting = True
        text = _UNKNOWN_COLUMN if lacks_a_value(error) else _MISSING
        self._faults.report("record schema", text, len(self._refused), waiting, error=error)
