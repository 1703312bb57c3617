"""Windows, their queues and requests, for the tests of the window."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from webhooks_app.core.circuit_breaker import Health
from webhooks_app.engine.leased_queue import LeasedQueue
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.types import EndpointConfig, QueuedDelivery
from webhooks_app.engine.window import Window
from webhooks_app.models.ids import new_id
from webhooks_app.wire_formats.standard import WIRE_FORMAT

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def a_queue(
    deliveries: int = 0,
    *,
    cap: int = 8,
    fifo: bool = False,
    rate_limit: int | None = None,
    tenant_id: uuid.UUID | None = None,
    probing: bool = False,
    url: str = "https://example.com/",
    **values: Any,
) -> LeasedQueue:
    config = EndpointConfig(new_id(), tenant_id or new_id(), url, WIRE_FORMAT, (), (), cap, rate_limit, fifo)
    queue = LeasedQueue(config, values.pop("health", Health()), leased_at=0.0, **values)
    queue.reading.exhausted = True
    queue.sending.probing = probing
    queue.sending.ready.extend(a_delivery(queue) for _ in range(deliveries))
    queue.sending.in_memory.update(delivery.delivery_id for delivery in queue.sending.ready)
    return queue


def a_delivery(queue: LeasedQueue, size: int = 10) -> QueuedDelivery:
    delivery = QueuedDelivery(new_id(), queue.endpoint_id, uuid.UUID(int=1), 0, 0, NOW, sequence=0, size=size)
    delivery.alone = queue.sending.isolated
    return delivery


def a_window(*queues: LeasedQueue, size: int = 100, max_leased: int = 100, slow: int = 0, **options: Any) -> Window:
    """`slow`: how many windows fit into the pool of slow requests."""
    chosen = EngineOptions(window=size, max_leased_queues=max_leased, slow_pool_windows=slow, **options)
    window = Window(chosen, capacity=100 * size)
    add(window, *queues)
    return window


def add(window: Window, *queues: LeasedQueue) -> None:
    window.add(queues)
    for queue in queues:
        deliveries = list(queue.sending.ready)
        queue.sending.ready.clear()
        window.add_deliveries(queue, deliveries)


def start(window: Window, now: float = 0.0, limit: int = 1000) -> list[QueuedDelivery]:
    return window.start(now, limit)


def finish(window: Window, *deliveries: QueuedDelivery, succeeded: bool = True, **values: Any) -> None:
    for delivery in deliveries:
        window.finish(
            delivery,
            succeeded_at=NOW if succeeded else None,
            **{"slowed": False, "hold_until": None, "stop": False, **values},
        )


def let_succeed(window: Window, count: int = 1) -> None:
    """Let the queues succeed once each."""
    deliveries = start(window)
    assert len(deliveries) == count
    finish(window, *deliveries)
    window.recorded(deliveries)
