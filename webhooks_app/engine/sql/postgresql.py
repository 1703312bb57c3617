"""The engine's statements, set-based, for PostgreSQL with psycopg 3. The contracts are those of `portable.py`."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from webhooks_app.core.circuit_breaker import Health
from webhooks_app.engine.sql.fan_out import pending_tenants
from webhooks_app.engine.sql.portable import PortableStore, lasting_takeovers
from webhooks_app.engine.sql.postgresql_record import PostgreSQLRecord
from webhooks_app.engine.sql.psycopg_cursors import Statement, columns, execute, query, send
from webhooks_app.engine.sql.tables import DELIVERY, ENDPOINT, EVENT, QUEUE
from webhooks_app.engine.sql.types import (
    SUSPECTED_FROM,
    SUSPICION_LASTS,
    TRUSTED_FOR,
    DueRow,
    EventRow,
    LeaseCapacity,
    NewDelivery,
    PendingTenant,
    QueueClass,
    Release,
    Taken,
    Wanted,
)
from webhooks_app.models import BLOCKED, NOTHING_DUE
from webhooks_app.models.lookups import array_literal

_LOOK = f"""
SELECT EXISTS (SELECT 1 FROM {EVENT} WHERE fanned_out_at IS NULL AND id >= %s),
       EXISTS (SELECT 1 FROM {QUEUE} WHERE holder_id IS NULL AND due_at <= %s)
"""
_PENDING_BELOW = f"SELECT id, tenant_id FROM {EVENT} WHERE fanned_out_at IS NULL AND id < %s ORDER BY id LIMIT %s"

_SUSPECTED = f"(crash_takeovers >= {SUSPECTED_FROM} AND COALESCE(crashed_at > %(suspects_since)s, false))"
_TRUSTED = "COALESCE(last_success_at > %(trusts_since)s, false)"
_CLASSES = {
    QueueClass.TRUSTED: f"consecutive_failures = 0 AND {_TRUSTED} AND NOT {_SUSPECTED}",
    QueueClass.NEW: f"consecutive_failures = 0 AND NOT {_TRUSTED} AND NOT {_SUSPECTED}",
    QueueClass.FAILING: f"consecutive_failures > 0 AND NOT {_SUSPECTED}",
    QueueClass.SUSPECTED: _SUSPECTED,
}


def _oldest(queue_class: QueueClass) -> str:
    """Return the statement that examines the oldest queues of the class, and takes no more than its share of each tenant."""
    name = queue_class.value
    return f"""
    SELECT endpoint_id, tenant_id FROM (
        SELECT endpoint_id, tenant_id, row_number() OVER (PARTITION BY tenant_id ORDER BY due_at) AS place FROM (
            SELECT endpoint_id, tenant_id, due_at FROM {QUEUE}
            WHERE holder_id IS NULL AND due_at <= %(now)s AND {_CLASSES[queue_class]}
              AND tenant_id <> ALL(%({name}_full)s::uuid[]) AND endpoint_id <> ALL(%({name}_refused)s::uuid[])
            ORDER BY due_at LIMIT %({name}_looked_at)s
        ) AS oldest
    ) AS ranked WHERE place <= %({name}_share)s"""


def _one_class(queue_class: QueueClass) -> str:
    """Return the part of a lease that locks the queues of one class."""
    name = queue_class.value
    return f"""{name} AS (
    SELECT endpoint_id FROM {QUEUE}
    WHERE endpoint_id = ANY(ARRAY(SELECT endpoint_id FROM ({_oldest(queue_class)}) AS chosen))
      AND holder_id IS NULL AND due_at <= %(now)s
    ORDER BY due_at LIMIT %({name})s FOR NO KEY UPDATE SKIP LOCKED
)"""


# A time that Python cannot read counts as NULL: when the result is read, the queues are already leased.
_TIMES = ", ".join(
    f"CASE WHEN {name} BETWEEN '0001-01-02' AND '9999-12-30' THEN {name} END"
    for name in ("failing_since", "last_failure_at", "last_success_at", "crashed_at", "recovered_at")
)
_TAKE = f"""
WITH {", ".join(map(_one_class, _CLASSES))}
UPDATE {QUEUE} AS queue SET holder_id = %(engine)s
WHERE endpoint_id IN ({" UNION ALL ".join(f"SELECT endpoint_id FROM {name.value}" for name in _CLASSES)})
RETURNING endpoint_id, crash_takeovers, consecutive_failures, {_TIMES}
"""

_DUE_TENANTS = f"SELECT DISTINCT tenant_id FROM ({' UNION ALL '.join(map(_oldest, _CLASSES))}) AS due"

# The event's size is not joined: a join could change the rows' order, which the cursor relies on, and it would skip
# deliveries whose event is gone, which must fail.
_DUE = f"""
SELECT wanted.endpoint_id, due.id, due.event_id, due.attempts, due.retry_step, due.next_attempt_at, due.sequence,
       COALESCE((SELECT size FROM {EVENT} AS event WHERE event.id = due.event_id), 0),
       due.expires_at, due.crashes
FROM unnest(%s::uuid[], %s::timestamptz[], %s::uuid[], %s::int[]) AS wanted (endpoint_id, after_at, after_id, most)
CROSS JOIN LATERAL (
    SELECT * FROM {DELIVERY} AS delivery
    WHERE delivery.endpoint_id = wanted.endpoint_id AND delivery.status = 'pending' AND delivery.next_attempt_at <= %s
      AND (delivery.next_attempt_at, delivery.id) > (wanted.after_at, wanted.after_id)
    ORDER BY delivery.next_attempt_at, delivery.id LIMIT wanted.most
) AS due
"""

_EVENTS = f"SELECT id, type, occurred_at, data FROM {EVENT} WHERE id = ANY(%s::uuid[]) AND erased_at IS NULL"

_INSERT_DELIVERIES = f"""
INSERT INTO {DELIVERY}
    (id, tenant_id, event_id, endpoint_id, next_attempt_at, expires_at, sequence, status, attempts, retry_step, last_outcome)
SELECT *, 'pending', 0, 0, ''
FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::uuid[], %s::timestamptz[], %s::timestamptz[], %s::bigint[])
ON CONFLICT (event_id, endpoint_id) DO NOTHING
"""

_NUMBER_DELIVERIES = f"""
UPDATE {DELIVERY} AS delivery SET sequence = %s + given.place
FROM unnest(%s::uuid[]) WITH ORDINALITY AS given (id, place)
WHERE delivery.id = given.id
"""

# The statements of a release are one message; the due time is computed after the rows are locked (see portable.py). The ids of
# the locked rows are passed in a setting that ends with the transaction: a row that becomes free only a moment later would be
# written from a snapshot taken before its lock.
_LOCK = f"""
SELECT set_config('webhooks_app.locked', ARRAY(
    SELECT endpoint_id FROM {QUEUE}
    WHERE endpoint_id = ANY(%s::uuid[]) AND holder_id = %s ORDER BY endpoint_id FOR NO KEY UPDATE SKIP LOCKED
)::text, true)
"""
_LOCKED = "ANY(current_setting('webhooks_app.locked')::uuid[])"

_RELEASE_CHANGES = f"""
UPDATE {QUEUE} AS queue
SET not_before = GREATEST(queue.not_before, COALESCE(given.not_before, queue.not_before)),
    last_success_at = COALESCE(given.succeeded_at, queue.last_success_at)
FROM unnest(%s::uuid[], %s::timestamptz[], %s::timestamptz[]) AS given (endpoint_id, not_before, succeeded_at)
WHERE queue.endpoint_id = given.endpoint_id AND queue.endpoint_id = {_LOCKED}
"""

_STILL_HELD = f"SELECT endpoint_id FROM {QUEUE} WHERE endpoint_id = ANY(%s::uuid[]) AND holder_id = %s"


def _set_due(which: str, *, release: str = "", earliest: str = "") -> str:
    """Return the statement that computes the due times of the queues `which`.

    `release`: an assignment to add. `earliest`: an argument of GREATEST to add. Each ends with a comma.
    """
    return f"""
UPDATE {QUEUE} AS queue
SET {release} due_at = GREATEST(queue.not_before, {earliest} COALESCE(CASE WHEN queue.fifo THEN (
        SELECT next_attempt_at FROM {DELIVERY} AS head
        WHERE head.endpoint_id = queue.endpoint_id AND head.status = 'pending' AND head.sequence > 0
        ORDER BY head.sequence LIMIT 1
    ) ELSE (
        SELECT next_attempt_at FROM {DELIVERY} AS first
        WHERE first.endpoint_id = queue.endpoint_id AND first.status = 'pending'
        ORDER BY first.next_attempt_at, first.id LIMIT 1
    ) END, %s))
WHERE queue.endpoint_id = {which}
"""


_RELEASE = _set_due(_LOCKED, release="holder_id = NULL,", earliest="now(),")
_SET_DUE = _set_due("ANY(%s::uuid[])")

# No join: its plan would depend on what the database last saw of both tables.
_COUNT_SENDABLE = f"""
SELECT (SELECT count(*) FROM {QUEUE}
        WHERE endpoint_id = ANY(%s::uuid[]) AND holder_id = %s AND not_before < %s),
       (SELECT count(*) FROM {ENDPOINT} WHERE id = ANY(%s::uuid[]) AND status = 'active')
"""

_BEGINNING = ("-infinity", uuid.UUID(int=0))


def _parameters(now: datetime, capacity: Mapping[QueueClass, LeaseCapacity]) -> dict[str, Any]:
    """Return the parameters of `_oldest` for each class."""
    found: dict[str, Any] = {"now": now, "suspects_since": now - SUSPICION_LASTS, "trusts_since": now - TRUSTED_FOR}
    for name in QueueClass:
        some = capacity.get(name, LeaseCapacity(0, frozenset(), 0))
        found[name.value] = some.limit
        found[f"{name.value}_looked_at"] = some.looked_at
        found[f"{name.value}_share"] = some.share
        found[f"{name.value}_full"] = array_literal(some.full)
        found[f"{name.value}_refused"] = array_literal(some.refused)
    return found


class PostgreSQLStore(PostgreSQLRecord, PortableStore):
    def insert_deliveries(self, rows: Sequence[NewDelivery]) -> None:
        execute(self.using, _INSERT_DELIVERIES, columns(rows, 7))

    def number_deliveries(self, ids: Sequence[uuid.UUID], *, after: int) -> None:
        execute(self.using, _NUMBER_DELIVERIES, [after, array_literal(ids)])

    def pending_below(self, floor: uuid.UUID, most: int) -> dict[uuid.UUID, uuid.UUID]:
        return dict(send(self.using, (_PENDING_BELOW, [floor, most]), walks_index=True)[0])

    def pending_tenants(
        self, after: uuid.UUID, limit: int, *, endpoints: int, events: int, floor: uuid.UUID
    ) -> list[PendingTenant]:
        return pending_tenants(after, limit, endpoints, events, floor, self.using)

    def find_work(self, now: datetime, floor: uuid.UUID) -> tuple[bool, bool]:
        pending, due = query(self.using, _LOOK, [floor, now])[0]
        return pending, due

    def rows(self, *wanted: QuerySet[Any, Any]) -> list[list[tuple[Any, ...]]]:
        return send(self.using, *(rows.query.get_compiler(self.using).as_sql() for rows in wanted))

    def count_sendable(self, engine_id: uuid.UUID, ids: Collection[uuid.UUID]) -> int:
        asked = array_literal(ids)
        awake, active = query(self.using, _COUNT_SENDABLE, [asked, engine_id, BLOCKED, asked])[0]
        return int(min(awake, active))

    def take(self, engine_id: uuid.UUID, now: datetime, capacity: Mapping[QueueClass, LeaseCapacity]) -> list[Taken]:
        rows = send(self.using, (_TAKE, {"engine": engine_id, **_parameters(now, capacity)}), relaxed=True)[0]
        return [
            Taken(endpoint_id, lasting_takeovers(crash_takeovers, crashed_at, now), Health(*health), recovered_at)
            for endpoint_id, crash_takeovers, *health, crashed_at, recovered_at in rows
        ]

    def due_tenants(self, now: datetime, capacity: Mapping[QueueClass, LeaseCapacity]) -> set[uuid.UUID]:
        return {row[0] for row in query(self.using, _DUE_TENANTS, _parameters(now, capacity))}

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
            rows.extend(DueRow(*row) for row in query(self.using, _DUE, [*arrays, now]))
        in_order = [queue for queue in wanted if queue.fifo]
        if in_order:
            rows.extend(super().due(in_order, now))
        return rows

    def events(self, ids: Sequence[uuid.UUID]) -> list[EventRow]:
        return [EventRow(*row) for row in query(self.using, _EVENTS, [array_literal(ids)])]

    def release(self, engine_id: uuid.UUID, rows: Sequence[Release]) -> set[uuid.UUID]:
        asked = [array_literal(row.endpoint_id for row in rows), engine_id]
        changes = [row for row in rows if row.not_before or row.succeeded_at]
        statements: list[Statement] = [(_LOCK, asked)]
        if changes:
            statements.append((_RELEASE_CHANGES, columns(changes, 3)))
        statements += [(_RELEASE, [NOTHING_DUE]), (_STILL_HELD, asked)]
        still_held = send(self.using, *statements, relaxed=True)[-1]
        return {row.endpoint_id for row in rows} - {row[0] for row in still_held}

    def set_due(self, endpoint_ids: Sequence[uuid.UUID]) -> None:
        execute(self.using, _SET_DUE, [NOTHING_DUE, array_literal(endpoint_ids)])
