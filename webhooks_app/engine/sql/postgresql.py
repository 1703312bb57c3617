"""The same statements, set-based, for PostgreSQL with psycopg 3. The contracts are those of `portable.py`."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import connections

from webhooks_app.core.health import Health
from webhooks_app.db import LOCK_TIMEOUT
from webhooks_app.engine.sql.fan_out import pending_tenants
from webhooks_app.engine.sql.portable import PortableStore, lasting_takeovers
from webhooks_app.engine.sql.types import (
    STAT_COUNTS,
    SUSPECTED_FROM,
    SUSPICION_LASTS,
    TRUSTED_FOR,
    AttemptRow,
    DueRow,
    EventRow,
    HealthRow,
    NewDelivery,
    PendingTenant,
    QueueClass,
    Release,
    Room,
    Settlement,
    StatRow,
    Taken,
    Wanted,
)
from webhooks_app.models import IDLE
from webhooks_app.models.ids import new_id
from webhooks_app.models.lookups import array_literal

_LOOK = """
SELECT EXISTS (SELECT 1 FROM webhooks_app_event WHERE fanned_out_at IS NULL),
       EXISTS (SELECT 1 FROM webhooks_app_endpointqueue WHERE holder_id IS NULL AND due_at <= %s)
"""

#: A table that a migration has locked is not waited for, and nothing is compiled; see `in_fresh_transaction`.
_BRIEFLY = f"SELECT set_config('lock_timeout', '{round(LOCK_TIMEOUT * 1000)}ms', true), set_config('jit', 'off', true);"

_SUSPECTED = f"(takeovers >= {SUSPECTED_FROM} AND COALESCE(crashed_at > %(suspects_since)s, false))"
_TRUSTED = "COALESCE(last_success_at > %(trusts_since)s, false)"
_CLASSES = {
    QueueClass.TRUSTED: f"streak = 0 AND {_TRUSTED} AND NOT {_SUSPECTED}",
    QueueClass.NEW: f"streak = 0 AND NOT {_TRUSTED} AND NOT {_SUSPECTED}",
    QueueClass.FAILING: f"streak > 0 AND NOT {_SUSPECTED}",
    QueueClass.SUSPECTED: _SUSPECTED,
}
# The oldest of the class are looked at, and of each tenant no more than its share is taken.
_OLDEST = """
    SELECT endpoint_id, tenant_id FROM (
        SELECT endpoint_id, tenant_id, row_number() OVER (PARTITION BY tenant_id ORDER BY due_at) AS place FROM (
            SELECT endpoint_id, tenant_id, due_at FROM webhooks_app_endpointqueue
            WHERE holder_id IS NULL AND due_at <= %(now)s AND {condition}
              AND tenant_id <> ALL(%({name}_full)s::uuid[]) AND endpoint_id <> ALL(%({name}_refused)s::uuid[])
            ORDER BY due_at LIMIT %({name}_looked_at)s
        ) AS oldest
    ) AS ranked WHERE place <= %({name}_share)s"""
_ONE_CLASS = """{name} AS (
    SELECT endpoint_id FROM webhooks_app_endpointqueue
    WHERE endpoint_id = ANY(ARRAY(SELECT endpoint_id FROM ({oldest}) AS chosen))
      AND holder_id IS NULL AND due_at <= %(now)s
    ORDER BY due_at LIMIT %({name})s FOR NO KEY UPDATE SKIP LOCKED
)"""
_OLDEST_BY_CLASS = {name: _OLDEST.format(name=name.value, condition=text) for name, text in _CLASSES.items()}
_EACH_CLASS = ", ".join(_ONE_CLASS.format(name=name.value, oldest=text) for name, text in _OLDEST_BY_CLASS.items())
_TAKE = f"""
WITH {_EACH_CLASS}
UPDATE webhooks_app_endpointqueue AS queue SET holder_id = %(engine)s
WHERE endpoint_id IN ({" UNION ALL ".join(f"SELECT endpoint_id FROM {name.value}" for name in _CLASSES)})
RETURNING endpoint_id, takeovers, crashed_at, recovered_at, streak, failing_since, last_failure_at, last_success_at
"""  # noqa: S608 - constants only

_DUE_TENANTS = f"SELECT DISTINCT tenant_id FROM ({' UNION ALL '.join(_OLDEST_BY_CLASS.values())}) AS due"  # noqa: S608

# The event's size is no join: that could change the rows' order, which the cursor relies on, and it would pass over
# deliveries whose event is gone, which must be given up.
_DUE = """
SELECT wanted.endpoint_id, due.id, due.event_id, due.attempts, due.step, due.next_attempt_at, due.sequence,
       COALESCE((SELECT size FROM webhooks_app_event AS event WHERE event.id = due.event_id), 0),
       due.expires_at, due.crashes
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
WHERE endpoint_id = ANY(%s::uuid[]) AND holder_id = %s ORDER BY endpoint_id FOR NO KEY UPDATE SKIP LOCKED
"""

_STILL_HELD = (
    "SELECT endpoint_id FROM webhooks_app_endpointqueue WHERE endpoint_id = ANY(%s::uuid[]) AND holder_id = %s"
)

_SET_DUE = """
UPDATE webhooks_app_endpointqueue AS queue
SET {extra} due_at = GREATEST(queue.not_before, %s, COALESCE(CASE WHEN queue.fifo THEN (
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
    takeovers = CASE WHEN given.cleared THEN 0 ELSE queue.takeovers END,
    recovered_at = COALESCE(given.recovered_at, queue.recovered_at)
FROM unnest(%s::uuid[], %s::int[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[], %s::bool[], %s::timestamptz[])
    AS given (endpoint_id, streak, failing_since, last_failure_at, last_success_at, cleared, recovered_at)
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

_BEGINNING = ("-infinity", uuid.UUID(int=0))


def _columns(rows: Iterable[Sequence[Any]], width: int) -> list[str]:
    """Rows to the arrays that unnest takes."""
    return [array_literal(column) for column in zip(*rows, strict=True)] or ["{}"] * width


def _parameters(now: datetime, room: Mapping[QueueClass, Room]) -> dict[str, Any]:
    """What `_OLDEST` needs for each class."""
    found: dict[str, Any] = {"now": now, "suspects_since": now - SUSPICION_LASTS, "trusts_since": now - TRUSTED_FOR}
    for name in QueueClass:
        some = room.get(name, Room(0, frozenset(), 0))
        found[name.value] = some.limit
        found[f"{name.value}_looked_at"] = some.looked_at
        found[f"{name.value}_share"] = some.share
        found[f"{name.value}_full"] = array_literal(some.full)
        found[f"{name.value}_refused"] = array_literal(some.refused)
    return found


class PostgreSQLStore(PortableStore):
    def insert_deliveries(self, rows: Sequence[NewDelivery]) -> None:
        self._execute(_INSERT_DELIVERIES, _columns(rows, 7))

    def _pending_tenants(self, after: uuid.UUID, limit: int, endpoints: int, events: int) -> list[PendingTenant]:
        return pending_tenants(after, limit, endpoints, events, 2 * self.limits.subscriptions, self.using)

    def look(self, now: datetime) -> tuple[bool, bool]:
        pending, due = self._query(_LOOK, [now])[0]
        return pending, due

    def take(self, engine_id: uuid.UUID, now: datetime, room: Mapping[QueueClass, Room]) -> list[Taken]:
        rows = self._query(_TAKE, {"engine": engine_id, **_parameters(now, room)})
        return [Taken(row[0], lasting_takeovers(row[1], row[2], now), Health(*row[4:]), row[3]) for row in rows]

    def due_tenants(self, now: datetime, room: Mapping[QueueClass, Room]) -> set[uuid.UUID]:
        return {row[0] for row in self._query(_DUE_TENANTS, _parameters(now, room))}

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
            rows.extend(DueRow(*row) for row in self._query(_DUE, [*arrays, now]))
        in_order = [queue for queue in wanted if queue.fifo]
        if in_order:
            rows.extend(super().due(in_order, now))
        return rows

    def events(self, ids: Sequence[uuid.UUID]) -> list[EventRow]:
        return [EventRow(*row) for row in self._query(_EVENTS, [array_literal(ids)])]

    def release(self, engine_id: uuid.UUID, rows: Sequence[Release], now: datetime) -> set[uuid.UUID]:
        asked = array_literal(row.endpoint_id for row in rows)
        locked = {row[0] for row in self._query(_LOCK, [asked, engine_id])}
        changes = [row for row in rows if row.endpoint_id in locked and (row.not_before or row.succeeded_at)]
        if changes:
            self._execute(_RELEASE_CHANGES, [*_columns(changes, 3), engine_id])
        if locked:
            self._execute(_SET_DUE.format(extra="holder_id = NULL,"), [now, IDLE, array_literal(locked)])
        ids = {row.endpoint_id for row in rows}
        if len(locked) == len(ids):
            return ids
        return ids - {row[0] for row in self._query(_STILL_HELD, [asked, engine_id])}

    def set_due(self, endpoint_ids: Sequence[uuid.UUID]) -> None:
        self._execute(_SET_DUE.format(extra=""), [None, IDLE, array_literal(endpoint_ids)])

    def insert_attempts(self, rows: Sequence[AttemptRow]) -> None:
        connection = connections[self.using]
        # Django's cursor wraps the errors of the call alone; those of the copying are raised in the `with` block.
        with connection.cursor() as cursor, connection.wrap_database_errors, cursor.copy(_COPY) as copy:
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
                row.cleared,
                row.recovered_at,
            )
            for row in rows
        ]
        self._execute(_WRITE_HEALTH, [*_columns(values, 7), engine_id])

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
        # Not Django's cursor: psycopg's C code reads the results, while Django matches each timestamp with a pattern.
        if connection.in_atomic_block:
            with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
                cursor.execute(statement, parameters, binary=True)
                return cursor.fetchall()
        # Sent as one, the two statements are one transaction, in one round trip.
        with connection.wrap_database_errors, psycopg.ClientCursor(connection.connection) as cursor:
            cursor.execute(_BRIEFLY + statement, parameters)
            cursor.nextset()
            return cursor.fetchall()
