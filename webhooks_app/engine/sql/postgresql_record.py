"""The statements of recording, set-based, for PostgreSQL with psycopg 3. The contracts are those of `portable_record.py`."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from django.db import NotSupportedError, connections

from webhooks_app.engine.sql.portable_record import PortableRecord
from webhooks_app.engine.sql.psycopg_cursors import columns, execute, query
from webhooks_app.engine.sql.tables import ATTEMPT, DELIVERY, HOURLY_STAT, QUEUE
from webhooks_app.engine.sql.types import STAT_COUNTS, AttemptRow, HealthRow, Settlement, StatRow
from webhooks_app.models.delivery import stored_response
from webhooks_app.models.ids import new_id
from webhooks_app.models.lookups import array_literal

# Nearly all rows: only ids are sent. "|| ''" keeps the planner from walking the whole index of pending deliveries.
_SETTLE_SUCCESSES = f"""
UPDATE {DELIVERY}
SET status = 'succeeded', attempts = attempts + 1, completed_at = %s, last_outcome = %s, last_status = %s, crash_marked_at = NULL
WHERE id = ANY(%s::uuid[]) AND status || '' = 'pending'
RETURNING id
"""

_SETTLE = f"""
UPDATE {DELIVERY} AS delivery
SET status = given.status, retry_step = given.retry_step, attempts = given.new_attempts,
    next_attempt_at = given.next_attempt_at, completed_at = given.completed_at, last_outcome = given.outcome,
    last_status = given.http_status, crash_marked_at = NULL
FROM unnest(%s::uuid[], %s::int[], %s::text[], %s::int[], %s::int[], %s::timestamptz[], %s::timestamptz[], %s::text[], %s::int[])
    AS given (id, attempts, status, new_attempts, retry_step, next_attempt_at, completed_at, outcome, http_status)
WHERE delivery.id = given.id AND delivery.status = 'pending' AND delivery.attempts = given.attempts
RETURNING delivery.id
"""

_WRITE_HEALTH = f"""
UPDATE {QUEUE} AS queue
SET consecutive_failures = given.consecutive_failures, failing_since = given.failing_since,
    last_failure_at = given.last_failure_at,
    last_success_at = COALESCE(given.last_success_at, queue.last_success_at),
    crash_takeovers = CASE WHEN given.cleared THEN 0 ELSE queue.crash_takeovers END,
    recovered_at = COALESCE(given.recovered_at, queue.recovered_at)
FROM unnest(%s::uuid[], %s::int[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[], %s::bool[], %s::timestamptz[])
    AS given (endpoint_id, consecutive_failures, failing_since, last_failure_at, last_success_at, cleared, recovered_at)
WHERE queue.endpoint_id = given.endpoint_id AND queue.holder_id = %s
"""

_COPY = f"COPY {ATTEMPT} ({', '.join(AttemptRow._fields)}) FROM STDIN"

# Only counters that are nonzero in at least one row are sent as arrays; most batches have four or five of them.
_ADD_STATS = f"""
INSERT INTO {HOURLY_STAT} AS stat
    (id, endpoint_id, hour, latency_sum_ms, latency_max_ms, {{counted}}{{zeros}})
SELECT *{{zero_values}} FROM unnest(%s::uuid[], %s::uuid[], %s::timestamptz[], %s::float8[], %s::float8[]{{arrays}})
ON CONFLICT (endpoint_id, hour) DO UPDATE
SET {{sums}}, latency_max_ms = GREATEST(stat.latency_max_ms, excluded.latency_max_ms)
"""


class PostgreSQLRecord(PortableRecord):
    #: False after the server has refused to copy into the table, as it does where row-level security applies.
    _copies = True

    def insert_attempts(self, rows: Sequence[AttemptRow]) -> None:
        if not self._copies:
            super().insert_attempts(rows)
            return
        try:
            self._copy_attempts(rows)
        except NotSupportedError:
            self._copies = False  # when the caller tries these rows again
            raise

    def _copy_attempts(self, rows: Sequence[AttemptRow]) -> None:
        connection = connections[self.using]
        # Django's cursor wraps only the errors of the call; errors of the copying are raised in the `with` block.
        with connection.cursor() as cursor, connection.wrap_database_errors, cursor.copy(_COPY) as copy:
            for row in rows:
                stored = stored_response(row.id, row.response_headers, row.response_body)
                if stored != (row.response_headers, row.response_body):
                    row = row._replace(response_headers=stored[0], response_body=stored[1])
                copy.write_row(row)

    def settle(self, rows: Sequence[Settlement]) -> set[uuid.UUID]:
        successes: dict[tuple[Any, ...], set[uuid.UUID]] = defaultdict(set)
        others: dict[uuid.UUID, Settlement] = {}
        for row in rows:
            if row.status == "succeeded":
                successes[row.completed_at, row.outcome, row.http_status].add(row.id)
            else:
                others.setdefault(row.id, row)  # of two rows with one id the database would choose any
        changed: set[uuid.UUID] = set()
        # Successes first: a delivery that has arrived is not tried again, whatever its other results are.
        for common, ids in successes.items():
            changed.update(row[0] for row in query(self.using, _SETTLE_SUCCESSES, [*common, array_literal(ids)]))
        if others:
            changed.update(row[0] for row in query(self.using, _SETTLE, columns(others.values(), 9)))
        return changed

    def write_health(self, engine_id: uuid.UUID, rows: Sequence[HealthRow]) -> None:
        values = [
            (
                row.endpoint_id,
                row.health.consecutive_failures,
                row.health.failing_since,
                row.health.last_failure_at,
                row.health.last_success_at,
                row.cleared,
                row.recovered_at,
            )
            for row in rows
        ]
        execute(self.using, _WRITE_HEALTH, [*columns(values, 7), engine_id])

    def add_stats(self, rows: Sequence[StatRow]) -> None:
        ordered = sorted(rows, key=lambda row: (row.endpoint_id, row.hour))
        counts = list(zip(*(row.counts for row in ordered), strict=True))
        counted = [
            (name, array_literal(column)) for name, column in zip(STAT_COUNTS, counts, strict=True) if any(column)
        ]
        zeros = set(STAT_COUNTS) - {name for name, _ in counted}
        statement = _ADD_STATS.format(
            counted=", ".join(name for name, _ in counted),
            zeros="".join(f", {name}" for name in sorted(zeros)),
            zero_values=", 0" * len(zeros),
            arrays=", %s::int[]" * len(counted),
            sums=", ".join(f"{name} = stat.{name} + excluded.{name}" for name in [*dict(counted), "latency_sum_ms"]),
        )
        fixed = [(new_id(), row.endpoint_id, row.hour, row.latency_sum_ms, row.latency_max_ms) for row in ordered]
        execute(self.using, statement, [*columns(fixed, 5), *(column for _, column in counted)])
