"""The queues that an engine has leased, shared by both of its threads. In memory, under one lock."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Collection, Iterable
from datetime import datetime

from webhooks_app.engine.leased_queue import LeasedQueue
from webhooks_app.engine.types import QueuedDelivery, TokenFetch


class LeasedQueues:
    """The leased queues by endpoint. The window extends this with the requests in flight. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queues: dict[uuid.UUID, LeasedQueue] = {}

    def __len__(self) -> int:
        return len(self._queues)

    def add(self, queues: Iterable[LeasedQueue]) -> None:
        with self._lock:
            for queue in queues:
                self._queues[queue.endpoint_id] = queue

    def remember(self, queue: LeasedQueue, delivery: QueuedDelivery) -> None:
        """Keep the queue until this delivery, which fails without a request, is recorded."""
        with self._lock:
            queue.sending.in_memory.add(delivery.delivery_id)

    def queues_to_refill(self, usual: int) -> dict[LeasedQueue, int]:
        """Return the queues to read for (few deliveries left, and more work expected), with the maximum number of rows of each.
        `usual`: deliveries to read at once for a queue that does not fail."""
        with self._lock:
            return {
                queue: queue.limit(usual)
                for queue in self._queues.values()
                if not queue.sending.stopping and not queue.reading.exhausted and queue.runs_low(usual)
            }

    def mark_has_work(self, endpoint_ids: Collection[uuid.UUID]) -> None:
        """Continue reading those of these queues that are leased here: events for an endpoint with one slow request in flight
        must not wait for that request."""
        with self._lock:
            for endpoint_id in endpoint_ids:
                queue = self._queues.get(endpoint_id)
                if queue is not None:
                    queue.reading.exhausted = False

    def reread_exhausted(self) -> None:
        """Read again from the start for queues that have nothing to send but still have requests in flight."""
        with self._lock:
            for queue in self._queues.values():
                state = queue.sending
                if queue.reading.exhausted and state.in_flight and not state.ready and not state.stopping:
                    queue.reading.exhausted, queue.reading.cursor = False, None

    def recorded(self, deliveries: Iterable[QueuedDelivery]) -> None:
        """Forget these deliveries, whose results are in the database: reading them again is harmless now."""
        with self._lock:
            for delivery in deliveries:
                queue = self._queues.get(delivery.endpoint_id)
                if queue is not None:
                    queue.sending.in_memory.discard(delivery.delivery_id)

    def drop(self, endpoint_ids: Collection[uuid.UUID], *, lost: bool) -> None:
        """Drop the deliveries read ahead for queues that were paused, disabled, deleted or taken by another engine."""
        with self._lock:
            for endpoint_id in endpoint_ids:
                queue = self._queues.get(endpoint_id)
                if queue is not None:
                    queue.stop()
                    queue.lost = queue.lost or lost

    def hold(self, endpoint_id: uuid.UUID, until: datetime) -> None:
        """Release this queue, to be due again at `until`."""
        with self._lock:
            queue = self._queues.get(endpoint_id)
            if queue is not None:
                queue.stop(until)

    def drop_leases_of_others(self, engine_id: uuid.UUID) -> None:
        """Forget queues leased under another id: this engine was declared dead and continues as a new one."""
        with self._lock:
            for queue in self._queues.values():
                if queue.engine_id != engine_id:
                    queue.stop()
                    queue.lost = True

    def stop_all(self) -> None:
        """Start no new requests. Each queue is released when its requests end."""
        with self._lock:
            for queue in self._queues.values():
                queue.stop()

    def keep_in_memory(self, deliveries: Collection[uuid.UUID]) -> None:
        """Drop queues that have none of these deliveries. Called after `forget_in_flight`."""
        with self._lock:
            for queue in self._queues.values():
                queue.sending.in_memory.intersection_update(deliveries)

    def leased(self) -> list[uuid.UUID]:
        with self._lock:
            return list(self._queues)

    def own(self) -> set[uuid.UUID]:
        """Return the queues that are not lost. This engine writes their due times when it releases them."""
        with self._lock:
            return {endpoint_id for endpoint_id, queue in self._queues.items() if not queue.lost}

    def bytes_by_tenant(self) -> Counter[uuid.UUID]:
        """Return how many bytes of bodies are in memory for each tenant, read ahead or in flight."""
        with self._lock:
            used: Counter[uuid.UUID] = Counter()
            for queue in self._queues.values():
                waiting = sum(delivery.size for delivery in queue.sending.ready)
                used[queue.config.tenant_id] += waiting + queue.sending.bytes_in_flight
            return used

    def queue_of(self, delivery: QueuedDelivery | TokenFetch) -> LeasedQueue | None:
        """Return the queue of a delivery in flight. It is kept until the delivery's result is recorded."""
        return self._queues.get(delivery.endpoint_id)
