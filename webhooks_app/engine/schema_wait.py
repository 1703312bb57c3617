"""Hold results while the database schema and this version of the code do not match, as during a deployment."""

from __future__ import annotations

import time

from webhooks_app.database_errors import is_schema_fault, lacks_a_value
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.options import EngineOptions

_UNKNOWN_COLUMN = (
    "the database has a column that this version does not know and that has no default; %d result(s) wait in memory: start the "
    "version that `migrate` was run for, or give the column a default"
)
_MISSING = (
    "a table, a column or a privilege that this version needs is missing in the database; %d result(s) wait in memory: was "
    "`migrate` run?"
)


class SchemaWait:
    """Decides for which errors the results of one engine wait."""

    def __init__(self, options: EngineOptions, faults: FaultLog) -> None:
        self._seconds = options.unknown_column_seconds
        self._faults = faults
        #: Until when they wait for code that knows a column (monotonic); None if no column was unknown yet.
        self._unknown_column_until: float | None = None

    def waits(self, error: Exception) -> bool:
        """Return whether the deployment in progress will fix this error, so that no row is dropped for it.

        What is missing in the database comes with `migrate`. A column that this version does not know is mended by the next
        version, which replaces this process: so that is waited for only once and for a while, or endpoints would get nothing
        more.
        """
        if not lacks_a_value(error):
            return is_schema_fault(error)
        if self._unknown_column_until is None:
            self._unknown_column_until = time.monotonic() + self._seconds
        return time.monotonic() < self._unknown_column_until

    def report(self, error: Exception, waiting: int) -> None:
        """Log why `waiting` results wait, and what to do."""
        text = _UNKNOWN_COLUMN if lacks_a_value(error) else _MISSING
        self._faults.report("record schema", text, waiting, error=error)
