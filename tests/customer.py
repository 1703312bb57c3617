"""A customer with a receiver of its own, whose events go the whole way: emit, the real engine, a real HTTP receiver.

with Customer() as customer:
    endpoint = customer.endpoint()
    customer.receiver.on("/hook", [500, 200])
    customer.emit()
    deliver()
    make_due()
    deliver()
"""

from __future__ import annotations

import itertools
import json
from datetime import datetime, timedelta
from typing import Any, Self

from tests.receiver import Receiver
from tests.receiver_behaviours import Received
from webhooks_app import EventType, emit, registry
from webhooks_app.db import in_fresh_transaction
from webhooks_app.endpoints.service import create_endpoint
from webhooks_app.engine import run as engine
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.queue_due import make_queues_due
from webhooks_app.engine.sweep import repair
from webhooks_app.models import (
    BLOCKED,
    Attempt,
    Delivery,
    Endpoint,
    EndpointQueue,
    Engine,
    Event,
    Tenant,
    database_now,
)

#: A type without a schema, there while a `Customer` is.
TYPE = "test.happened"
_NUMBERS = itertools.count(1)


class Customer:
    """A tenant, and the receiver that its endpoints point to."""

    def __init__(self, email: str = "customer@example.com", receiver: Receiver | None = None) -> None:
        self.receiver = receiver or Receiver()
        self.uid = f"customer-{next(_NUMBERS)}"
        self._email = email

    def __enter__(self) -> Self:
        self.receiver.__enter__()
        registry.register(EventType(TYPE))
        self.tenant = Tenant.objects.create(uid=self.uid, email=self._email)
        return self

    def __exit__(self, *exception: object) -> None:
        registry.unregister([TYPE])
        self.receiver.__exit__(*exception)

    def endpoint(self, path: str = "/hook", **options: Any) -> Endpoint:
        """An endpoint on this customer's receiver that wants everything."""
        return create_endpoint(self.tenant, url=self.receiver.url(path), events=["*"], **options)[0]

    def emit(self, data: Any = None, **options: Any) -> Event:
        return emit(TYPE, {"n": 1} if data is None else data, tenant=self.tenant, **options)

    def emit_several(self, count: int) -> list[Event]:
        """Events with the data {"n": 0}, {"n": 1} …"""
        return [self.emit({"n": number}) for number in range(count)]

    @property
    def received(self) -> list[Received]:
        return list(self.receiver.requests)

    @property
    def numbers(self) -> list[int]:
        """The `n` of every request so far, in the order in which they came."""
        return [json.loads(request.body)["data"]["n"] for request in self.receiver.requests]


def deliver(options: EngineOptions | None = None) -> engine.Progress:
    """Run the real engine until nothing is due. Nothing is held afterwards, and nothing sleeps through its time."""
    progress = engine.run(until=engine.idle_for(0), options=options)
    assert not EndpointQueue.objects.filter(holder_id__isnull=False).exists()
    assert not Engine.objects.exists()
    assert repair() == 0
    return progress


def make_due() -> None:
    """Let the time come for whatever waits for a time; what is paused or disabled goes on waiting."""
    now = database_now("default")
    queues = EndpointQueue.objects.filter(not_before__lt=BLOCKED)
    queues.update(not_before=now)
    pending = Delivery.objects.pending().filter(endpoint__queue__in=queues)
    ids = set(pending.values_list("endpoint_id", flat=True))
    Delivery.objects.filter(pk__in=list(pending.values_list("pk", flat=True))).update(next_attempt_at=now)
    in_fresh_transaction(lambda: make_queues_due(ids, now, using="default"), "default")


def age(endpoint: Endpoint, **by: float) -> None:
    """Put the queue's memory of failures back in time: `age(endpoint, hours=1)`."""
    queue = EndpointQueue.objects.get(endpoint=endpoint)
    for name in ("failing_since", "last_failure_at", "last_success_at"):
        moment: datetime | None = getattr(queue, name)
        setattr(queue, name, moment - timedelta(**by) if moment else None)
    queue.save()


def the_delivery(event: Event | None = None) -> Delivery:
    """The only delivery there is (of this event)."""
    rows = Delivery.objects.all() if event is None else Delivery.objects.filter(event=event)
    return rows.get()


def attempts(delivery: Delivery | None = None) -> list[Attempt]:
    rows = Attempt.objects.all() if delivery is None else Attempt.objects.filter(delivery=delivery)
    return list(rows.order_by("started_at", "id"))


def statuses() -> set[str]:
    """The states in which all deliveries are."""
    return set(Delivery.objects.values_list("status", flat=True))
