"""What the receivers of a simulation have seen, and what must hold of it and of the database at any moment."""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from django.db.models import Count, Sum

from tests.engine_machine import Sent, SimulatedEngine
from webhooks_app.models import BLOCKED, Attempt, Delivery, Endpoint, EndpointQueue, Engine, Event, HourlyStat

RECEIVING = ("active", "paused")
FINAL = ("succeeded", "exhausted", "cancelled")


class Ledger:
    """The requests and responses of all engines, gone ones too. Keys are delivery ids unless another thing is said."""

    def __init__(self, endpoints: Collection[Endpoint]) -> None:
        self._limits = {endpoint.pk: endpoint.max_in_flight for endpoint in endpoints}
        self._fifo = {endpoint.pk for endpoint in endpoints if endpoint.fifo}
        self.in_flight: list[Sent] = []
        self.responses: Counter[uuid.UUID] = Counter()
        self.successes: Counter[uuid.UUID] = Counter()
        #: Responses that say something of the receiver, and failed.
        self.failures: Counter[uuid.UUID] = Counter()
        self._gone: set[uuid.UUID] = set()
        self._first_success: dict[uuid.UUID, int] = {}
        #: Successes beyond the first that are right: after a replay, or after an engine was lost.
        self._more_allowed: Counter[uuid.UUID] = Counter()
        #: Their place in a FIFO order is not checked: replayed, cancelled, or sent by an engine that was lost.
        self._unordered: set[uuid.UUID] = set()
        self._cancelled: set[uuid.UUID] = set()
        #: Responses that an engine which is gone may not have recorded.
        self._unrecorded: Counter[uuid.UUID] = Counter()
        #: Event id → endpoints that it must reach, and endpoints that it may reach.
        self._must: dict[uuid.UUID, set[uuid.UUID]] = {}
        self._may: dict[uuid.UUID, set[uuid.UUID]] = {}
        #: Events that were not fanned out at the last check.
        self._pending: set[uuid.UUID] = set()
        #: Queues whose wake-up a gone engine owed.
        self.slept: set[uuid.UUID] = set()
        self._final: dict[uuid.UUID, str] = {}
        self.violations: list[str] = []

    # --- told by the test --------------------------------------------------------------------------------------------

    def emitted(self, event: Event, wanting: Iterable[uuid.UUID], receiving: Collection[uuid.UUID]) -> None:
        """`wanting`: the endpoints whose subscriptions fit. Of those, the ones that are `receiving` get it for certain."""
        self._may[event.pk] = set(wanting)
        self._must[event.pk] = self._may[event.pk].intersection(receiving)

    def started(self, sent: Sent) -> None:
        key, endpoint_id = sent.delivery.delivery_id, sent.delivery.endpoint_id
        beside = [other for other in self.in_flight if other.delivery.endpoint_id == endpoint_id and not other.lost]
        if any(other.delivery.delivery_id == key for other in beside):
            self.violations.append(f"delivery {key} is in flight twice")
        if len(beside) >= (1 if endpoint_id in self._fifo else self._limits.get(endpoint_id, 100)):
            self.violations.append(f"endpoint {endpoint_id} gets {len(beside) + 1} requests at once")
        if sent.engine_id in self._gone:
            self.violations.append(f"delivery {key} is sent by an engine that has lost its queues")
        self.in_flight.append(sent)

    def answered(self, sent: Sent, kind: str) -> None:
        key = sent.delivery.delivery_id
        self.in_flight.remove(sent)
        self.responses[key] += 1
        if kind == "200":
            self.successes[key] += 1
            self._first_success.setdefault(key, len(self._first_success))
        elif kind != "not sent":
            self.failures[key] += 1

    def replayed(self, key: uuid.UUID) -> None:
        self._more_allowed[key] += 1
        self._unordered.add(key)
        self._final.pop(key, None)

    def cancelled(self, keys: Collection[uuid.UUID]) -> None:
        self._unordered.update(keys)
        self._cancelled.update(keys)

    def lost(self, engine: SimulatedEngine) -> None:
        """Its queues belong to others now: what it has in flight or unrecorded is sent again."""
        for sent in self.in_flight:
            if sent.engine is engine and not sent.lost:
                sent.lost = True
                self._excuse(sent.delivery.delivery_id)
        for key in engine.unrecorded():
            self._excuse(key)

    def gone(self, engine: SimulatedEngine) -> None:
        """Its process has ended."""
        self.lost(engine)
        self.in_flight = [sent for sent in self.in_flight if sent.engine is not engine]
        self._unrecorded.update(engine.unrecorded())
        self.slept.update(engine.owed_wakes())

    def _excuse(self, key: uuid.UUID) -> None:
        self._more_allowed[key] += 1
        self._unordered.add(key)

    # --- what must hold ----------------------------------------------------------------------------------------------

    def check(self, engines: Collection[SimulatedEngine], now: datetime) -> None:
        """Everything that holds at any moment."""
        deliveries = list(Delivery.objects.values())
        queues = list(EndpointQueue.objects.values())
        assert not self.violations, self.violations
        for engine in engines:
            assert engine.window.in_flight == len(engine.network.requests), "the window has lost count"
        existing = set(Engine.objects.values_list("id", flat=True)).union(*(engine.ids for engine in engines))
        holders = {queue["holder_id"] for queue in queues} - {None}
        assert holders <= existing, f"queues are held by engines that do not exist: {holders - existing}"
        self._note_disabled()
        self._check_deliveries(deliveries)
        self._check_attempts()
        self._check_order(deliveries)
        owed = self.slept.union(*(engine.owed_wakes() for engine in engines))
        self._check_due_times(deliveries, [queue for queue in queues if queue["endpoint_id"] not in owed], now)

    def _note_disabled(self) -> None:
        """Endpoints that were disabled or deleted may have missed the events that were not fanned out before."""
        pending = set(Event.objects.pending().values_list("pk", flat=True))
        off = set(Endpoint.objects.exclude(status__in=RECEIVING).values_list("pk", flat=True))
        for event_id in self._pending | pending:
            self._must[event_id] -= off
        self._pending = pending

    def _check_deliveries(self, deliveries: list[dict[str, Any]]) -> None:
        for row in deliveries:
            key, status = row["id"], row["status"]
            before = self._final.get(key, status)
            assert status == before, f"delivery {key} became {status} after it was {before}"
            if status in FINAL:
                self._final[key] = status
            if status == "succeeded":
                assert row["attempts"] >= 1, f"delivery {key} has succeeded without a request"
                assert self.successes[key], f"no receiver has accepted delivery {key}"
            assert row["retry_step"] <= self.failures[key], (
                f"delivery {key} has used {row['retry_step']} steps of its policy"
            )
            assert row["endpoint_id"] in self._may[row["event_id"]], f"delivery {key} is not wanted"
        for key, count in self.successes.items():
            assert count <= 1 + self._more_allowed[key], f"delivery {key} was accepted {count} times"

    def _check_attempts(self) -> None:
        rows = Attempt.objects.order_by().values_list("delivery_id").annotate(count=Count("id"))
        for key, count in rows:
            assert count <= self.responses[key], (
                f"delivery {key} has {count} attempts for {self.responses[key]} requests"
            )

    def _check_order(self, deliveries: list[dict[str, Any]]) -> None:
        """In each FIFO endpoint's order, first successes come one after the other, and so do events."""
        for endpoint_id in self._fifo:
            ordered = [row for row in deliveries if row["endpoint_id"] == endpoint_id]
            ordered = [row for row in ordered if row["id"] not in self._unordered]
            ordered.sort(key=lambda row: row["sequence"])
            events = [row["event_id"] for row in ordered]
            assert events == sorted(events), f"the events of {endpoint_id} are out of order"
            arrived = [self._first_success[row["id"]] for row in ordered if row["id"] in self._first_success]
            assert arrived == sorted(arrived), f"the deliveries to {endpoint_id} overtook each other"

    def _check_due_times(self, deliveries: list[dict[str, Any]], queues: list[dict[str, Any]], now: datetime) -> None:
        """No queue that nobody holds sleeps through its work."""
        pending: dict[uuid.UUID, list[tuple[int, datetime]]] = defaultdict(list)
        for row in deliveries:
            if row["status"] == "pending":
                pending[row["endpoint_id"]].append((row["sequence"], row["next_attempt_at"]))
        for queue in queues:
            waiting = pending[queue["endpoint_id"]]
            if queue["holder_id"] or not waiting or queue["not_before"] == BLOCKED:
                continue
            first = min(waiting)[1] if queue["fifo"] else min(at for _, at in waiting)
            wanted = max(first, queue["not_before"], now)  # one that is due already does not sleep
            assert queue["due_at"] <= wanted, f"queue {queue['endpoint_id']} sleeps"

    def check_end(self) -> None:
        """What holds when nothing is left to do: everything has arrived where it had to."""
        found = {(row.event_id, row.endpoint_id): row for row in Delivery.objects.all()}
        deleted = set(Endpoint.objects.filter(status="deleted").values_list("pk", flat=True))
        for event_id, endpoint_ids in self._must.items():
            for endpoint_id in endpoint_ids - deleted:
                row = found.get((event_id, endpoint_id))
                assert row is not None, f"event {event_id} never became a delivery to {endpoint_id}"
                assert row.status == "succeeded" or self._may_fail(row), f"delivery {row.pk} ended as {row.status}"
        recorded = dict(Attempt.objects.order_by().values_list("delivery_id").annotate(count=Count("id")))
        for key, count in self.responses.items():
            assert recorded.get(key, 0) >= count - self._unrecorded[key], f"a request of delivery {key} is not recorded"
        total = HourlyStat.objects.aggregate(total=Sum("succeeded"))["total"] or 0
        assert total == Attempt.objects.filter(outcome="succeeded").count(), "the statistics differ from the attempts"

    def _may_fail(self, row: Delivery) -> bool:
        if row.status == "cancelled":
            return row.pk in self._cancelled
        return row.status == "exhausted" and self.failures[row.pk] > 0

    def forget_engines(self, engines: Collection[SimulatedEngine]) -> None:
        """Look whether an engine was taken for dead: its row is gone."""
        existing = set(Engine.objects.values_list("id", flat=True))
        for engine in engines:
            if engine.ids - existing - self._gone:
                self._gone.update(engine.ids - existing)
                self.lost(engine)
