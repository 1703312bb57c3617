"""Read ahead: the deliveries that leased queues send next, with their events."""

from __future__ import annotations

import time
import uuid
import weakref
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta

from django.db import DatabaseError

from webhooks_app.core.retry import OutcomeKind
from webhooks_app.db import divided
from webhooks_app.engine.body_memory import BodyMemory
from webhooks_app.engine.crash_guard import mark_before_send
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.heartbeat import Heartbeat
from webhooks_app.engine.leased_queue import LeasedQueue
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.pauses import Pauses
from webhooks_app.engine.sql import store_for
from webhooks_app.engine.sql.types import DueRow, Wanted
from webhooks_app.engine.types import EventBody, QueuedDelivery
from webhooks_app.engine.window import Window
from webhooks_app.models.event import payload_field
from webhooks_app.models.ids import public_id

#: How many queues one statement reads for.
_QUEUES_AT_ONCE = 200
#: How many FIFO queues to read for at once; each takes a statement of its own.
_FIFO_AT_ONCE = 24
#: How long the heartbeat watches closely after a delivery was marked (seconds).
_CLOSE_WATCH = 5.0

#: A delivery that fails without a request, and why.
Refused = tuple[LeasedQueue, QueuedDelivery, OutcomeKind]


class ReadAhead:
    """Feeds the window. Used by the database thread only."""

    def __init__(
        self, using: str, heartbeat: Heartbeat, window: Window, options: EngineOptions, faults: FaultLog
    ) -> None:
        self._using = using
        self._store = store_for(using)
        self._heartbeat = heartbeat
        self._window = window
        self._options = options
        self._faults = faults
        #: Queues whose rows cannot be read. The first pause is short: a migration or a missing privilege refuses the rows of
        #: every queue, and no error tells that from one bad row.
        self._unreadable = Pauses(options.fault_hold.total_seconds(), first=options.lost_hold.total_seconds())
        #: Tenants whose next body did not fit; see `BodyMemory`.
        self._full: dict[uuid.UUID, int] = {}
        #: Events that some delivery in memory still needs.
        self._events: weakref.WeakValueDictionary[uuid.UUID, EventBody] = weakref.WeakValueDictionary()

    def refill(self) -> tuple[int, list[Refused]]:
        """Read for the queues that run low. Return how many deliveries were added to the window, and those that are beyond
        their maximum age: they are not sent, only recorded."""
        memory = BodyMemory(self._options, self._window.bytes_by_tenant(), self._full)
        queues = self._queues_to_read(memory)
        if not queues:
            return 0, []
        rows: dict[uuid.UUID, list[DueRow]] = defaultdict(list)

        def read(some: list[Wanted]) -> None:
            for row in self._store.due(some, self._heartbeat.now()):
                rows[row.endpoint_id].append(row)

        late = divided(
            read,
            queues.values(),
            lambda one, error: self._hold(one.endpoint_id, error),
            seconds=self._options.one_by_one_seconds,
        )
        for one in late:
            self._window.hold(one.endpoint_id, self._heartbeat.now() + self._options.lost_hold)
        try:
            return self._feed(queues, rows, memory)
        except Exception:
            for queue in queues:  # nothing was added to the window: all of it is read again
                queue.reading.exhausted, queue.reading.cursor = False, None
            raise

    def _feed(
        self, queues: Mapping[LeasedQueue, Wanted], rows: Mapping[uuid.UUID, list[DueRow]], memory: BodyMemory
    ) -> tuple[int, list[Refused]]:
        """Add the deliveries of these rows to the window, with their events."""
        refused: list[Refused] = []
        accepted: list[tuple[LeasedQueue, list[QueuedDelivery]]] = []
        for queue, wanted in queues.items():
            found = rows[queue.endpoint_id]
            _move_cursor(queue, found, wanted)
            try:
                deliveries, late = self._split_expired(queue, found)
            except DatabaseError:
                raise
            except Exception as error:  # noqa: BLE001 - a row with a value that none of this can use
                self._hold(queue.endpoint_id, error)
                continue
            deliveries = _fit_memory(memory, queue, deliveries)
            queue.reading.found_late = bool(late)
            refused += late
            accepted.append((queue, deliveries))
        self._full = memory.full
        unreadable = self._attach_events([delivery for _, deliveries in accepted for delivery in deliveries])
        accepted = [(queue, [one for one in some if one.event_id not in unreadable]) for queue, some in accepted]
        # Only now: if a statement fails, no delivery is kept here that will never be recorded.
        for queue, delivery, _ in refused:
            self._window.remember(queue, delivery)
        for queue, deliveries in accepted:
            self._window.add_deliveries(queue, deliveries)
        return sum(len(deliveries) for _, deliveries in accepted), refused

    def _queues_to_read(self, memory: BodyMemory) -> dict[LeasedQueue, Wanted]:
        """Return the queues that run low and for which there is room, least recently read first: a tenant with very many
        queues must not take every turn."""
        limits = self._window.queues_to_refill(self._options.read_ahead)
        chosen = [queue for queue in limits if memory.has_room(queue.config.tenant_id)]
        chosen.sort(key=lambda queue: queue.reading.read_at)
        fifo = [queue for queue in chosen if queue.config.fifo][:_FIFO_AT_ONCE]
        others = [queue for queue in chosen if not queue.config.fifo][:_QUEUES_AT_ONCE]
        now = time.monotonic()
        for queue in (*fifo, *others):
            queue.reading.read_at = now
        return {
            queue: Wanted(queue.endpoint_id, queue.config.fifo, queue.reading.cursor, limits[queue])
            for queue in (*fifo, *others)
        }

    def _split_expired(
        self, queue: LeasedQueue, rows: Collection[DueRow]
    ) -> tuple[list[QueuedDelivery], list[Refused]]:
        """Return the deliveries to send, and those that fail. Deliveries already in memory are left out."""
        deliveries: list[QueuedDelivery] = []
        refused: list[Refused] = []
        now = self._heartbeat.now()
        for row in rows:
            if row.id in queue.sending.in_memory:
                continue
            delivery = _queued(row)
            late = row.expires_at <= now
            if late and row.crashes:
                refused.append((queue, delivery, OutcomeKind.QUARANTINED))
            elif late and queue.sending.probing:
                refused.append((queue, delivery, OutcomeKind.EXPIRED))
            elif row.crashes and not queue.sending.isolated:
                # It is sent alone, and before the others: then the queue continues as usual.
                self._window.isolate_suspect(queue)
                deliveries.insert(0, delivery)
            else:
                deliveries.append(delivery)
        if (queue.sending.probing or queue.sending.isolated) and len(deliveries) > 1:
            # One request shows whether it works; the others are read again when it has ended.
            queue.reading.exhausted, queue.reading.cursor = False, None
            del deliveries[1:]
        if queue.sending.isolated and deliveries:
            for delivery in deliveries:
                delivery.alone = True
            ids = [delivery.delivery_id for delivery in deliveries]
            if not mark_before_send(ids, now, self._using, self._options.lock_timeout):
                self._window.hold(queue.endpoint_id, now + self._options.lost_hold)
                return [], refused
            self._heartbeat.watch_closely(_CLOSE_WATCH)
        return deliveries, refused

    def _hold(self, endpoint_id: uuid.UUID, error: Exception) -> None:
        """Hold a queue whose rows cannot be read, longer each time. Called once for each queue that was read for."""
        name = public_id("wh", endpoint_id)
        self._faults.report(f"read {endpoint_id}", "the deliveries of %s cannot be read", name, error=error)
        pause = timedelta(seconds=self._unreadable.put(endpoint_id))
        self._window.hold(endpoint_id, self._heartbeat.now() + pause)

    def _attach_events(self, deliveries: list[QueuedDelivery]) -> set[uuid.UUID]:
        """Attach the events to the deliveries. Return the events whose rows cannot be read, or not now; their queues are held."""
        known = {delivery.event_id: self._events.get(delivery.event_id) for delivery in deliveries}
        missing = [event_id for event_id, event in known.items() if event is None]
        unreadable: dict[uuid.UUID, Exception] = {}

        def read(some: list[uuid.UUID]) -> None:
            for row in self._store.events(some):
                data = payload_field().open(row.id, row.data)
                known[row.id] = self._events[row.id] = EventBody(row.id, row.type, row.occurred_at, data)

        late = set(divided(read, missing, unreadable.__setitem__, seconds=self._options.one_by_one_seconds))
        refused: dict[uuid.UUID, Exception] = {}
        for delivery in deliveries:
            delivery.event = known[delivery.event_id]
            if delivery.event_id in unreadable:
                refused[delivery.endpoint_id] = unreadable[delivery.event_id]
            elif delivery.event_id in late:
                self._window.hold(delivery.endpoint_id, self._heartbeat.now() + self._options.lost_hold)
        for endpoint_id, error in refused.items():
            self._hold(endpoint_id, error)
        return late.union(unreadable)


def _move_cursor(queue: LeasedQueue, rows: Sequence[DueRow], wanted: Wanted) -> None:
    """Move the cursor behind the rows that were read. With fewer rows than the limit the queue is exhausted, until new work is
    noted. Rows before the cursor that were committed late are found by the next recheck, or at the release."""
    queue.reading.exhausted = len(rows) < wanted.limit
    if rows and not queue.config.fifo:
        queue.reading.cursor = (rows[-1].next_attempt_at, rows[-1].id)


def _fit_memory(memory: BodyMemory, queue: LeasedQueue, deliveries: list[QueuedDelivery]) -> list[QueuedDelivery]:
    """Return as many of the deliveries as the memory for bodies allows; the rest is read again later."""
    for position, delivery in enumerate(deliveries):
        if not memory.take(queue.config.tenant_id, delivery.size):
            queue.reading.exhausted, queue.reading.cursor = False, None
            return deliveries[:position]
    return deliveries


def _queued(row: DueRow) -> QueuedDelivery:
    return QueuedDelivery(
        delivery_id=row.id,
        endpoint_id=row.endpoint_id,
        event_id=row.event_id,
        attempts=row.attempts,
        retry_step=row.retry_step,
        next_attempt_at=row.next_attempt_at,
        sequence=row.sequence,
        size=row.size,
        expires_at=row.expires_at,
    )
