"""The same statements, set-based, for PostgreSQL with psycopg 3. The contracts are those of `portable.py`."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import connections

from webhooks_app.core.health import Health
from webhooks_app.models import IDLE
from webhooks_app.models.ids import new_id
from webhooks_app.models.lookups import array_literal
from webhooks_app.pipeline.store.portable import PortableStore
from webhooks_app.pipeline.store.rows import (
    POISON_SUSPECTED,
    STAT_COUNTS,
    AttemptRow,
    DueRow,
    EventRow,
    HealthRow,
    NewDelivery,
    QueueState,
    Release,
    Settlement,
    StatRow,
    Taken,
    Wanted,
)

_LOOK = """
SELECT EXISTS (SELECT 1 FROM webhooks_app_event WHERE fanned_out_at IS NULL),
       EXISTS (SELECT 1 FROM webhooks_app_endpointqueue WHERE holder_id IS NULL AND due_at <= %s)
"""

_STATES = {
    QueueState.HEALTHY: f"streak = 0 AND takeovers < {POISON_SUSPECTED}",
    QueueState.FAILING: f"streak > 0 AND takeovers < {POISON_SUSPECTED}",
    QueueState.SUSPECT: f"takeovers >= {POISON_SUSPECTED}",
}
_ONE_KIND = """{name} AS (
    SELECT endpoint_id FROM webhooks_app_endpointqueue
    WHERE holder_id IS NULL AND due_at <= %(now)s AND {condition}
    ORDER BY due_at LIMIT %({name})s FOR NO KEY UPDATE SKIP LOCKED
)"""
_KINDS = ", ".join(_ONE_KIND.format(name=state.value, condition=condition) for state, condition in _STATES.items())
_TAKE = f"""
WITH {_KINDS}
UPDATE webhooks_app_endpointqueue AS queue SET holder_id = %(engine)s
WHERE endpoint_id IN ({" UNION ALL ".join(f"SELECT endpoint_id FROM {state.value}" for state in _STATES)})
RETURNING endpoint_id, takeovers, streak, failing_since, last_failure_at, last_success_at
"""  # noqa: S608 - constants only

# The event's size is no join: that could change the rows' order, which the cursor relies on, and it would pass over
# deliveries whose event is gone, which must be given up.
_DUE = """
SELECT wanted.endpoint_id, due.id, due.event_id, due.attempts, due.step, due.next_attempt_at, due.sequence,
       COALESCE((SELECT size FROM webhooks_app_event AS event WHERE event.id = due.event_id), 0),
       due.expires_at <= %s, due.marked_at IS NOT NULL
FROM unnest(%s::uuid[], %s::timestamptz[], %s::uuid[], %s::int[]) AS wanted (endpoint_id, after_at, after_id, room)
CROSS JOIN LATERAL (
    SELECT * FROM webhooks_app_delivery AS delivery
    WHERE delivery.endpoint_id = wanted.endpoint_id AND delivery.status = 'pending' AND delivery.next_attempt_at <= %s
      AND (delivery.next_attempt_at, delivery.id) > (wanted.after_at, wanted.after_id)
    ORDER BY delivery.next_attempt_at, delivery.id LIMIT wanted.room
) AS due
"""

_EVENTS = "SELECT id, type, occurred_at, data FROM webhooks_app_event WHERE id = ANY(%s::uuid[])"

_INSERT_DELIVERIES = """
INSERT INTO webhooks_app_delivery
    (id, tenant_id, event_id, endpoint_id, next_attempt_at, expires_at, sequence, status, attempts, step, last_outcome)
SELECT *, 'pending', 0, 0, ''
FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::uuid[], %s::timestamptz[], %s::timestamptz[], %s::bigint[])
ON CONFLICT (event_id, endpoint_id) DO NOTHING
"""

# Nothing is locked or computed here but what the holder alone writes; the due time is a second statement's (see portable.py).
_RELEASE_CHANGES = """
UPDATE webhooks_app_endpointqueue AS queue
SET not_before = GREATEST(queue.not_before, COALESCE(given.not_before, queue.not_before)),
    last_success_at = COALESCE(given.succeeded_at, queue.last_success_at)
FROM unnest(%s::uuid[], %s::timestamptz[], %s::timestamptz[]) AS given (endpoint_id, not_before, succeeded_at)
WHERE queue.endpoint_id = given.endpoint_id AND queue.holder_id = %s
  AND (given.not_before IS NOT NULL OR given.succeeded_at IS NOT NULL)
"""

_LOCK = """
SELECT endpoint_id FROM webhooks_app_endpointqueue
WHERE endpoint_id = ANY(%s::uuid[]) AND holder_id = %s ORDER BY endpoint_id FOR NO KEY UPDATE
"""

_SET_DUE = """
UPDATE webhooks_app_endpointqueue AS queue
SET {extra} due_at = GREATEST(queue.not_before, COALESCE(CASE WHEN queue.fifo THEN (
        SELECT next_attempt_at FROM webhooks_app_delivery AS head
        WHERE head.endpoint_id = queue.endpoint_id AND head.status = 'pending' AND head.sequence > 0
        ORDER BY head.sequence LIMIT 1
    ) ELSE (
        SELECT next_attempt_at FROM webhooks_app_delivery AS first
        WHERE first.endpoint_id = queue.endpoint_id AND first.status = 'pending'
        ORDER BY first.next_attempt_at, first.id LIMIT 1
    ) END, %s))
WHERE queue.endpoint_id = ANY(%s::uuid[])
"""

# Nearly all rows: nothing but ids travels. "|| ''" keeps the planner from walking an index of what is pending, all of it.
_SETTLE_SUCCESSES = """
UPDATE webhooks_app_delivery
SET status = 'succeeded', attempts = attempts + 1, completed_at = %s, last_outcome = %s, last_status = %s, marked_at = NULL
WHERE id = ANY(%s::uuid[]) AND status || '' = 'pending'
RETURNING id
"""

_SETTLE = """
UPDATE webhooks_app_delivery AS delivery
SET status = given.status, step = given.step, attempts = given.new_attempts,
    next_attempt_at = given.next_attempt_at, completed_at = given.completed_at, last_outcome = given.outcome,
    last_status = given.http_status, marked_at = NULL
FROM unnest(%s::uuid[], %s::int[], %s::text[], %s::int[], %s::int[], %s::timestamptz[], %s::timestamptz[], %s::text[], %s::int[])
    AS given (id, attempts, status, new_attempts, step, next_attempt_at, completed_at, outcome, http_status)
WHERE delivery.id = given.id AND delivery.status = 'pending' AND delivery.attempts = given.attempts
RETURNING delivery.id
"""

_WRITE_HEALTH = """
UPDATE webhooks_app_endpointqueue AS queue
SET streak = given.streak, failing_since = given.failing_since, last_failure_at = given.last_failure_at,
    last_success_at = COALESCE(given.last_success_at, queue.last_success_at),
    takeovers = CASE WHEN given.trusted THEN 0 ELSE queue.takeovers END
FROM unnest(%s::uuid[], %s::int[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[], %s::bool[])
    AS given (endpoint_id, streak, failing_since, last_failure_at, last_success_at, trusted)
WHERE queue.endpoint_id = given.endpoint_id AND queue.holder_id = %s
"""

_COPY = f"COPY webhooks_app_attempt ({', '.join(AttemptRow._fields)}) FROM STDIN"

# Only the counters that are not 0 in any row travel as arrays; most batches have four or five of them.
_ADD_STATS = """
INSERT INTO webhooks_app_hourlystat AS stat
    (id, endpoint_id, hour, latency_sum_ms, latency_max_ms, {counted}{zeros})
SELECT *{zero_values} FROM unnest(%s::uuid[], %s::uuid[], %s::timestamptz[], %s::float8[], %s::float8[]{arrays})
ON CONFLICT (endpoint_id, hour) DO UPDATE
SET {sums}, latency_max_ms = GREATEST(stat.latency_max_ms, excluded.latency_max_ms)
"""

_BEGINNING = (datetime.min.replace(year=1970, tzinfo=IDLE.tzinfo), uuid.UUID(int=0))


def _columns(rows: Iterable[Sequence[Any]], width: int) -> list[str]:
    """Rows to the arrays that unnest takes."""
    return [array_literal(column) for column in zip(*rows, strict=True)] or ["{}"] * width


class PostgreSQLStore(PortableStore):
    def insert_deliveries(self, rows: Sequence[NewDelivery]) -> None:
        self._execute(_INSERT_DELIVERIES, _columns(rows, 7))

    def look(self, now: datetime) -> tuple[bool, bool]:
        pending, due = self._query(_LOOK, [now])[0]
        return pending, due

    def take(self, engine_id: uuid.UUID, now: datetime, room: Mapping[QueueState, int]) -> list[Taken]:
        limits = {state.value: room.get(state, 0) for state in QueueState}
        rows = self._query(_TAKE, {"now": now, "engine": engine_id, **limits})
        return [Taken(row[0], row[1], Health(*row[2:])) for row in rows]

    def due(self, wanted: Sequence[Wanted], now: datetime) -> list[DueRow]:
        rows: list[DueRow] = []
        plain = [queue for queue in wanted if not queue.fifo]
        if plain:
            cursors = [queue.cursor or _BEGINNING for queue in plain]
            arrays = [
                array_literal(queue.endpoint_id for queue in plain),
                array_literal(at for at, _ in cursors),
                array_literal(after for _, after in cursors),
                array_literal(queue.limit for queue in plain),
            ]
            rows.extend(DueRow(*row) for row in self._query(_DUE, [now, *arrays, now]))
        for queue in wanted:
            if queue.fifo:
                rows.extend(self._due_of_one(queue, now))
        return rows

    def events(self, ids: Sequence[uuid.UUID]) -> list[EventRow]:
        return [EventRow(*row) for row in self._query(_EVENTS, [array_literal(ids)])]

    def release(self, engine_id: uuid.UUID, rows: Sequence[Release]) -> None:
        asked = array_literal(row.endpoint_id for row in rows)
        locked = array_literal(row[0] for row in self._query(_LOCK, [asked, engine_id]))
        changes = [row for row in rows if row.not_before or row.succeeded_at]
        if changes:
            self._execute(_RELEASE_CHANGES, [*_columns(changes, 3), engine_id])
        self._execute(_SET_DUE.format(extra="holder_id = NULL,"), [IDLE, locked])

    def set_due(self, endpoint_ids: Sequence[uuid.UUID]) -> None:
        self._execute(_SET_DUE.format(extra=""), [IDLE, array_literal(endpoint_ids)])

    def insert_attempts(self, rows: Sequence[AttemptRow]) -> None:
        with connections[self.using].cursor() as cursor, cursor.copy(_COPY) as copy:
            for row in rows:
                copy.write_row(row)

    def settle(self, rows: Sequence[Settlement]) -> set[uuid.UUID]:
        successes: dict[tuple[Any, ...], set[uuid.UUID]] = defaultdict(set)
        others: dict[uuid.UUID, Settlement] = {}
        for row in rows:
            if row.status == "succeeded":
                successes[row.completed_at, row.outcome, row.http_status].add(row.id)
            else:
                others.setdefault(row.id, row)  # of two in one statement the database would choose any
        changed: set[uuid.UUID] = set()
        # Successes first: a delivery that has arrived is not tried again, whatever else is said of it.
        for common, ids in successes.items():
            changed.update(row[0] for row in self._query(_SETTLE_SUCCESSES, [*common, array_literal(ids)]))
        if others:
            changed.update(row[0] for row in self._query(_SETTLE, _columns(others.values(), 9)))
        return changed

    def write_health(self, engine_id: uuid.UUID, rows: Sequence[HealthRow]) -> None:
        values = [
            (
                row.endpoint_id,
                row.health.streak,
                row.health.failing_since,
                row.health.last_failure_at,
                row.health.last_success_at,
                row.trusted,
            )
            for row in rows
        ]
        self._execute(_WRITE_HEALTH, [*_columns(values, 6), engine_id])

    def add_stats(self, rows: Sequence[StatRow]) -> None:
        ordered = sorted(rows, key=lambda row: (row.endpoint_id, row.hour))
        columns = list(zip(*(row.counts for row in ordered), strict=True))
        counted = [
            (name, array_literal(column)) for name, column in zip(STAT_COUNTS, columns, strict=True) if any(column)
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
        self._execute(statement, [*_columns(fixed, 5), *(column for _, column in counted)])

    def _execute(self, statement: str, parameters: Sequence[Any]) -> None:
        with connections[self.using].cursor() as cursor:
            cursor.execute(statement, parameters)

    def _query(self, statement: str, parameters: Sequence[Any] | Mapping[str, Any]) -> list[tuple[Any, ...]]:
        import psycopg  # not where another database is used

        connection = connections[self.using]
        connection.ensure_connection()
        # Not Django's cursor: this one's binary results are read by psycopg's C code, while Django matches each timestamp
        # that comes as text with a pattern.
        with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
            cursor.execute(statement, parameters, binary=True)
            return cursor.fetchall()
