"""The engine's statements in the ORM: select ids, then write by id; no RETURNING, no reliance on partial indexes."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from django.db import connections
from django.db.models import Case, F, OuterRef, Q, QuerySet, Subquery, UUIDField, Value, When
from django.db.models.functions import Coalesce, Greatest

from webhooks_app.core.circuit_breaker import Health
from webhooks_app.db import LOCK_TIMEOUT, in_fresh_transaction, read
from webhooks_app.engine.sql.portable_record import CHUNK, PortableRecord
from webhooks_app.engine.sql.tables import DELIVERY
from webhooks_app.engine.sql.types import (
    LARGE,
    SMALL,
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
from webhooks_app.models import (
    BLOCKED,
    NOTHING_DUE,
    Delivery,
    Endpoint,
    EndpointQueue,
    EndpointStatus,
    Event,
    Tenant,
    database_now,
)
from webhooks_app.models.lookups import any_of, count_up_to, for_change

Result = TypeVar("Result")


def of_class(queue_class: QueueClass, now: datetime) -> Q:
    """Return the condition for queues of this class."""
    suspected = Q(crash_takeovers__gte=SUSPECTED_FROM, crashed_at__isnull=False, crashed_at__gt=now - SUSPICION_LASTS)
    trusted = Q(consecutive_failures=0, last_success_at__isnull=False, last_success_at__gt=now - TRUSTED_FOR)
    return {
        QueueClass.TRUSTED: trusted & ~suspected,
        QueueClass.NEW: Q(consecutive_failures=0) & ~trusted & ~suspected,
        QueueClass.FAILING: Q(consecutive_failures__gt=0) & ~suspected,
        QueueClass.SUSPECTED: suspected,
    }[queue_class]


class PortableStore(PortableRecord):
    """The statements for every database that Django supports. Methods that read, lease or release need no transaction, and do
    not wait for locks; all others must be called inside a transaction."""

    def __init__(self, using: str) -> None:
        super().__init__(using)
        self.limits = SMALL if connections[using].vendor == "sqlite" else LARGE

    # --- fan-out -----------------------------------------------------------------------------------------------------

    def insert_deliveries(self, rows: Sequence[NewDelivery]) -> None:
        """Insert deliveries. A delivery that already exists (same event and endpoint) is not changed."""
        Delivery.objects.using(self.using).bulk_create(
            [Delivery(**row._asdict()) for row in rows], batch_size=CHUNK, ignore_conflicts=True
        )

    def number_deliveries(self, ids: Sequence[uuid.UUID], *, after: int) -> None:
        """Give these deliveries the sequence numbers after `after`, in this order."""
        # Not `bulk_update`, which takes 6 s for 20,000 deliveries: it makes some objects for each.
        connection = connections[self.using]
        keys = [UUIDField().get_db_prep_value(key, connection) for key in ids]
        with connection.cursor() as cursor:
            for start in range(0, len(keys), CHUNK):
                some = keys[start : start + CHUNK]
                pairs = [value for place, key in enumerate(some, start=after + start + 1) for value in (key, place)]
                cases, holes = "WHEN %s THEN %s " * len(some), ", ".join(["%s"] * len(some))
                cursor.execute(
                    f"UPDATE {DELIVERY} SET sequence = CASE id {cases} END WHERE id IN ({holes})", [*pairs, *some]
                )

    def find_work(self, now: datetime, floor: uuid.UUID) -> tuple[bool, bool]:
        """Return whether an event is pending, and whether a queue is due that no engine holds. Call it outside a transaction.
        `floor`: see `engine.pending_floor`; here and below, events with lower ids may be left out."""
        due = EndpointQueue.objects.using(self.using).filter(holder_id__isnull=True, due_at__lte=now)
        pending = Event.objects.using(self.using).pending()
        return read(lambda: (pending.exists(), due.exists()), self.using)

    def pending_below(self, floor: uuid.UUID, most: int) -> dict[uuid.UUID, uuid.UUID]:
        """Return the pending events with the lowest ids, as long as these are below the floor, with their tenants."""
        pending = Event.objects.using(self.using).pending().filter(id__lt=floor).order_by("id")
        return dict(read(lambda: list(pending.values_list("id", "tenant_id")[:most]), self.using))

    def pending_tenants(
        self, after: uuid.UUID, limit: int, *, endpoints: int, events: int, floor: uuid.UUID
    ) -> list[PendingTenant]:
        """Return the next tenants with pending events, ordered by id. `endpoints`, `events`: the maximum to count."""
        return read(lambda: self._pending_tenants(after, limit, endpoints, events), self.using)

    def _pending_tenants(self, after: uuid.UUID, limit: int, endpoints: int, events: int) -> list[PendingTenant]:
        tenants: list[PendingTenant] = []
        there = Endpoint.objects.using(self.using).exclude(status=EndpointStatus.DELETED)
        while len(tenants) < limit:
            # One by one, each with an index look-up: DISTINCT would read every pending event.
            pending = Event.objects.using(self.using).pending().filter(tenant_id__gt=after)
            found = pending.order_by("tenant_id").values_list("tenant_id", flat=True).first()
            if found is None:
                break
            after = found
            fifo = there.filter(tenant_id=after, fifo=True).exists()
            receiving = there.without_callbacks().filter(tenant_id=after).exclude(status=EndpointStatus.DISABLED)
            count = count_up_to(receiving.order_by("pk"), endpoints)
            counted = Event.objects.using(self.using).pending().filter(tenant_id=after).order_by("pk")[:events]
            rows = list(counted.values_list("callback_url", "tenant_uid"))
            if not rows:
                continue  # another engine has just fanned them out
            exists = Tenant.objects.using(self.using).filter(id=after).exists()
            callbacks = any(url for url, _ in rows)
            tenants.append(PendingTenant(after, rows[0][1], exists, False, fifo, count, len(rows), callbacks))
        return tenants

    # --- lease -------------------------------------------------------------------------------------------------------

    def rows(self, *wanted: QuerySet[Any, Any]) -> list[list[tuple[Any, ...]]]:
        """Return the rows of each `values_list`; the columns must need no conversion (no JSON)."""
        return read(lambda: [list(rows) for rows in wanted], self.using)

    def count_sendable(self, engine_id: uuid.UUID, ids: Collection[uuid.UUID]) -> int:
        """Return how many of these queues this engine still holds and may send for, at most."""
        mine = EndpointQueue.objects.using(self.using).filter(any_of("endpoint_id", ids), holder_id=engine_id)
        active = Endpoint.objects.using(self.using).filter(any_of("id", ids), status=EndpointStatus.ACTIVE)
        return read(lambda: min(mine.filter(not_before__lt=BLOCKED).count(), active.count()), self.using)

    def take(self, engine_id: uuid.UUID, now: datetime, capacity: Mapping[QueueClass, LeaseCapacity]) -> list[Taken]:
        """Lease free queues that are due, oldest due first, as many of each class and tenant as there is capacity for."""
        return self._in_transaction(lambda: self._take_these(engine_id, now, self.due_queues(now, capacity)))

    def due_queues(self, now: datetime, capacity: Mapping[QueueClass, LeaseCapacity]) -> list[uuid.UUID]:
        """Return the queues that `take` would lease."""
        return [key for name, some in capacity.items() if some.limit > 0 for key in self._due_queues(now, name, some)]

    def due_tenants(self, now: datetime, capacity: Mapping[QueueClass, LeaseCapacity]) -> set[uuid.UUID]:
        """Return the tenants of the queues that `take` would lease."""

        def find() -> set[uuid.UUID]:
            queues = EndpointQueue.objects.using(self.using).filter(
                any_of("endpoint_id", self.due_queues(now, capacity))
            )
            return set(queues.values_list("tenant_id", flat=True))

        return read(find, self.using)

    def _in_transaction(self, work: Callable[[], Result]) -> Result:
        return in_fresh_transaction(work, self.using, relaxed=True, lock_timeout=LOCK_TIMEOUT)

    def take_these(self, engine_id: uuid.UUID, now: datetime, ids: Sequence[uuid.UUID]) -> list[Taken]:
        """Lease the given queues that are free and due."""
        return self._in_transaction(lambda: self._take_these(engine_id, now, ids))

    def _take_these(self, engine_id: uuid.UUID, now: datetime, ids: Sequence[uuid.UUID]) -> list[Taken]:
        queues = EndpointQueue.objects.using(self.using)
        ids = self._hold(engine_id, now, ids)
        fields = (
            "endpoint_id", "crash_takeovers", "crashed_at", "recovered_at",
            "consecutive_failures", "failing_since", "last_failure_at", "last_success_at",
        )  # fmt: skip
        rows = queues.filter(endpoint_id__in=ids).values_list(*fields) if ids else []
        return [Taken(row[0], lasting_takeovers(row[1], row[2], now), Health(*row[4:]), row[3]) for row in rows]

    def _due_queues(self, now: datetime, name: QueueClass, capacity: LeaseCapacity) -> list[uuid.UUID]:
        free = EndpointQueue.objects.using(self.using).filter(holder_id__isnull=True)
        due = free.filter(of_class(name, now), due_at__lte=now).exclude(tenant_id__in=list(capacity.full))
        due = due.exclude(endpoint_id__in=list(capacity.refused))
        oldest = due.order_by("due_at").values_list("endpoint_id", "tenant_id")[: capacity.looked_at]
        chosen: list[uuid.UUID] = []
        of_tenant: Counter[uuid.UUID] = Counter()
        for endpoint_id, tenant_id in oldest:
            of_tenant[tenant_id] += 1
            if of_tenant[tenant_id] <= capacity.share and len(chosen) < capacity.limit:
                chosen.append(endpoint_id)
        return chosen

    def _hold(self, engine_id: uuid.UUID, now: datetime, chosen: Sequence[uuid.UUID]) -> list[uuid.UUID]:
        free = EndpointQueue.objects.using(self.using).filter(holder_id__isnull=True)
        locked = for_change(free.filter(endpoint_id__in=chosen, due_at__lte=now), skip_locked=True)
        ids = list(locked.values_list("endpoint_id", flat=True)) if chosen else []
        if ids:
            free.filter(endpoint_id__in=ids).update(holder_id=engine_id)
        return ids

    def due(self, wanted: Sequence[Wanted], now: datetime) -> list[DueRow]:
        """Return the next due deliveries of each queue. For FIFO queues these are the first ones in order, as far as due; those
        without a sequence number are left out."""
        return read(lambda: [row for queue in wanted for row in self._due_of_one(queue, now)], self.using)

    def _due_of_one(self, queue: Wanted, now: datetime) -> list[DueRow]:
        pending = Delivery.objects.using(self.using).pending().filter(endpoint_id=queue.endpoint_id)
        if queue.fifo:
            ordered = pending.in_order()
        else:
            ordered = pending.filter(next_attempt_at__lte=now).order_by("next_attempt_at", "id")
            if queue.cursor is not None:
                at, delivery_id = queue.cursor
                ordered = ordered.filter(Q(next_attempt_at__gt=at) | Q(next_attempt_at=at, id__gt=delivery_id))
        fields = ("endpoint_id", "id", "event_id", "attempts", "retry_step", "next_attempt_at", "sequence")
        # Not a join: a delivery whose event is gone must be read too, so that it fails.
        size = Coalesce(Subquery(Event.objects.filter(id=OuterRef("event_id")).values("size")), 0)
        found = ordered.annotate(size=size).values_list(*fields, "size", "expires_at", "crashes")
        found = found[: queue.limit]
        rows = [DueRow(*row) for row in found]
        return _due_prefix(rows, now) if queue.fifo else rows

    def events(self, ids: Sequence[uuid.UUID]) -> list[EventRow]:
        """Return the content of these events, if their rows still exist and are not erased: a blank payload is never sent."""
        events = Event.objects.using(self.using).not_erased().filter(any_of("id", ids))
        rows = events.values_list("id", "type", "occurred_at", "data")
        return read(lambda: [EventRow(*row) for row in rows], self.using)

    def release(self, engine_id: uuid.UUID, rows: Sequence[Release]) -> set[uuid.UUID]:
        """Release queues: lock them, then, in a second statement with a fresh snapshot, compute when each is due next.

        One statement is not enough: at READ COMMITTED it re-reads the locked row but keeps its subquery's old snapshot, and
        would miss a delivery that was committed in between. A queue with more to do is due from now on, behind those that
        already wait. Returns the queues that were released or were not this engine's; those whose rows another transaction
        has locked are left for later.
        """
        return self._in_transaction(lambda: self._release(engine_id, rows))

    def _release(self, engine_id: uuid.UUID, rows: Sequence[Release]) -> set[uuid.UUID]:
        held = EndpointQueue.objects.using(self.using).filter(holder_id=engine_id)
        ids = {row.endpoint_id for row in rows}
        mine = held.filter(endpoint_id__in=ids)
        locked = set(mine.locked(skip_locked=True).values_list("endpoint_id", flat=True))
        for row in rows:
            if row.endpoint_id in locked and (row.not_before or row.succeeded_at):
                held.filter(endpoint_id=row.endpoint_id).update(**_release_changes(row))
        held.filter(endpoint_id__in=locked).update(
            due_at=Greatest(
                F("not_before"), Value(database_now(self.using)), Coalesce(self._earliest(), Value(NOTHING_DUE))
            ),
            holder_id=None,
        )
        return ids - set(mine.values_list("endpoint_id", flat=True))

    def set_due(self, endpoint_ids: Sequence[uuid.UUID]) -> None:
        """Compute when these queues are due. The caller has locked them, and no engine holds them."""
        EndpointQueue.objects.using(self.using).filter(endpoint_id__in=endpoint_ids).update(
            due_at=Greatest(F("not_before"), Coalesce(self._earliest(), Value(NOTHING_DUE)))
        )

    def _earliest(self) -> Case:
        """Return when a queue's earliest work is due: for a FIFO endpoint its head's time, otherwise the earliest time."""
        pending = Delivery.objects.using(self.using).pending().filter(endpoint_id=OuterRef("endpoint_id"))
        head = pending.in_order().values("next_attempt_at")[:1]
        first = pending.order_by("next_attempt_at", "id").values("next_attempt_at")[:1]
        return Case(When(fifo=True, then=Subquery(head)), default=Subquery(first))


def lasting_takeovers(count: int, crashed_at: datetime | None, now: datetime) -> int:
    """Return the number of takeovers that still count."""
    return count if crashed_at is not None and crashed_at > now - SUSPICION_LASTS else 0


def _due_prefix(rows: list[DueRow], now: datetime) -> list[DueRow]:
    """Return the first deliveries of a FIFO queue, up to the first one that has to wait: nothing may overtake it."""
    for position, row in enumerate(rows):
        if row.next_attempt_at > now:
            return rows[:position]
    return rows


def _release_changes(row: Release) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if row.not_before:
        changes["not_before"] = Greatest(F("not_before"), Value(row.not_before))
    if row.succeeded_at:
        changes["last_success_at"] = row.succeeded_at
    return changes
