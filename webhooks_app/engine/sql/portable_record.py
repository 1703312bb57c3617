"""The statements that record results, in the ORM."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from django.db import connections
from django.db.models import DateTimeField, F, Value
from django.db.models.functions import Coalesce

from webhooks_app.engine.sql.types import STAT_COUNTS, AttemptRow, HealthRow, Settlement, StatRow
from webhooks_app.models import Attempt, Delivery, DeliveryStatus, EndpointQueue, HourlyStat
from webhooks_app.models.ids import new_id
from webhooks_app.models.lookups import for_change

#: SQLite takes 250,000 variables a statement now, but once took 999; other databases want short lists too.
CHUNK = 500


class PortableRecord:
    """The statements for every database that Django supports. All methods must be called inside a transaction."""

    def __init__(self, using: str) -> None:
        self.using = using

    def insert_attempts(self, rows: Sequence[AttemptRow]) -> None:
        Attempt.objects.using(self.using).bulk_create([Attempt(**row._asdict()) for row in rows], batch_size=CHUNK)

    def settle(self, rows: Sequence[Settlement]) -> set[uuid.UUID]:
        """Settle deliveries by compare-and-set, and return the ids that were changed. A 2xx turns pending into succeeded
        unconditionally; other results apply only if the delivery still has the number of attempts that they started from."""
        changed: set[uuid.UUID] = set()
        successes: dict[tuple[Any, ...], list[Settlement]] = defaultdict(list)
        for row in rows:
            if row.status == DeliveryStatus.SUCCEEDED:
                successes[row.outcome, row.http_status].append(row)
            elif self._settle_one(row):
                changed.add(row.id)
        for group in successes.values():
            changed.update(self._settle_successes(group))
        return changed

    def _settle_one(self, row: Settlement) -> bool:
        pending = Delivery.objects.using(self.using).pending().filter(id=row.id, attempts=row.attempts)
        return bool(
            pending.update(
                status=row.status,
                attempts=row.new_attempts,
                retry_step=row.retry_step,
                next_attempt_at=row.next_attempt_at,
                completed_at=row.completed_at,
                last_outcome=row.outcome,
                last_status=row.http_status,
                crash_marked_at=None,
            )
        )

    def _settle_successes(self, group: list[Settlement]) -> list[uuid.UUID]:
        pending = Delivery.objects.using(self.using).pending()
        chosen = pending.filter(id__in=[row.id for row in group]).order_by("id")
        ids = list(for_change(chosen).values_list("id", flat=True))  # locked: no other transaction changes them now
        changed = pending.filter(id__in=ids).update(
            status=DeliveryStatus.SUCCEEDED,
            attempts=F("attempts") + 1,
            completed_at=group[0].completed_at,
            last_outcome=group[0].outcome,
            last_status=group[0].http_status,
            crash_marked_at=None,
        )
        if changed < len(ids):  # the host's trigger or policy has left some unchanged
            return list(set(ids).difference(pending.filter(id__in=ids).values_list("id", flat=True)))
        return ids

    def write_health(self, engine_id: uuid.UUID, rows: Sequence[HealthRow]) -> None:
        """Write the health of endpoints that this engine holds. The caller has locked the rows."""
        held = EndpointQueue.objects.using(self.using).filter(holder_id=engine_id)
        for row in sorted(rows, key=lambda row: row.endpoint_id):
            crash_takeovers = Value(0) if row.cleared else F("crash_takeovers")
            held.filter(endpoint_id=row.endpoint_id).update(
                consecutive_failures=row.health.consecutive_failures,
                failing_since=row.health.failing_since,
                last_failure_at=row.health.last_failure_at,
                last_success_at=Coalesce(
                    Value(row.health.last_success_at, output_field=DateTimeField()), F("last_success_at")
                ),
                crash_takeovers=crash_takeovers,
                recovered_at=Coalesce(Value(row.recovered_at, output_field=DateTimeField()), F("recovered_at")),
            )

    def add_stats(self, rows: Sequence[StatRow]) -> None:
        """Add to the hourly rows, always in the same order. Endpoints share no row."""
        table = connections[self.using].ops.quote_name(HourlyStat._meta.db_table)
        statement = _stat_statement(table, connections[self.using].vendor)
        adapt = HourlyStat._meta.get_field("id").get_db_prep_value
        hour = HourlyStat._meta.get_field("hour").get_db_prep_value
        connection = connections[self.using]
        with connection.cursor() as cursor:
            cursor.executemany(
                statement,
                [
                    (
                        adapt(new_id(), connection),
                        adapt(row.endpoint_id, connection),
                        hour(row.hour, connection),
                        *row.counts,
                        row.latency_sum_ms,
                        row.latency_max_ms,
                    )
                    for row in sorted(rows, key=lambda row: (row.endpoint_id, row.hour))
                ],
            )


def _stat_statement(table: str, vendor: str) -> str:
    """Return the upsert; MySQL and MariaDB have their own syntax. Contains names and numbers only, no values."""
    columns = ("id", "endpoint_id", "hour", *STAT_COUNTS, "latency_sum_ms", "latency_max_ms")
    insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))}) "
    added = (*STAT_COUNTS, "latency_sum_ms")
    if vendor == "mysql":
        sums = [f"{name} = {name} + VALUES({name})" for name in added]
        largest = "latency_max_ms = GREATEST(latency_max_ms, VALUES(latency_max_ms))"
        return insert + "ON DUPLICATE KEY UPDATE " + ", ".join([*sums, largest])
    sums = [f"{name} = {table}.{name} + excluded.{name}" for name in added]
    greatest = "MAX" if vendor == "sqlite" else "GREATEST"
    largest = f"latency_max_ms = {greatest}({table}.latency_max_ms, excluded.latency_max_ms)"
    return insert + "ON CONFLICT (endpoint_id, hour) DO UPDATE SET " + ", ".join([*sums, largest])
