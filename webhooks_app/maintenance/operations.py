"""The state of the whole installation, for its operators. Each query is bounded and uses an index."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count

from webhooks_app.conf import settings
from webhooks_app.core.circuit_breaker import breaker_is_open
from webhooks_app.endpoints.health import off_at
from webhooks_app.models import Delivery, Endpoint, EndpointQueue, Engine, Event
from webhooks_app.models.ids import first_id
from webhooks_app.models.lookups import count_up_to
from webhooks_app.stats.hourly import HourlyCounts, hours_of_all
from webhooks_app.telemetry.installation_state import MOST_COUNTED, PendingWork, pending_work
from webhooks_app.wire_formats import find_retry_policy

#: The number of rows in a list.
MOST_SHOWN = 25
_ENGINES_SHOWN = 100
#: Older quarantined events can be found in the list of events.
QUARANTINE_SHOWN = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class FailingEndpoint:
    endpoint: Endpoint
    queue: EndpointQueue
    breaker_open: bool
    off_at: datetime | None


@dataclass(frozen=True, slots=True)
class EngineState:
    """`heard`: its last heartbeat. `held`: the queues that it holds now."""

    engine: Engine
    alive: bool
    heard: datetime
    held: int


@dataclass(frozen=True, slots=True)
class HeldQueue:
    """`engine`: None if it is not among the running ones any more; the next sweep releases the queue."""

    queue: EndpointQueue
    engine: Engine | None


@dataclass(frozen=True, slots=True)
class Operations:
    """`pending`: unfinished deliveries, including those that wait for a retry, counted up to MOST_COUNTED."""

    now: datetime
    hours: Sequence[HourlyCounts]
    pending: int
    waiting: PendingWork
    quarantined: Sequence[Event]
    failing: Sequence[FailingEndpoint]
    engines: Sequence[EngineState]
    held: Sequence[HeldQueue]


def operations(now: datetime, hours: int = 24) -> Operations:
    """Return the full report as of `now`, which is the database's time."""
    engines = list(Engine.objects.order_by("-started_at")[:_ENGINES_SHOWN])
    return Operations(
        now=now,
        hours=hours_of_all(now, hours),
        pending=count_up_to(Delivery.objects.pending().by_queue(), MOST_COUNTED),
        waiting=pending_work(now),
        quarantined=quarantined(now),
        failing=failing(),
        engines=_states(engines, now),
        held=_held(engines, now),
    )


def quarantined(now: datetime) -> list[Event]:
    """Return the newest quarantined events of the last days, without their data."""
    events = Event.objects.quarantined().filter(id__gte=first_id(now - QUARANTINE_SHOWN))
    return list(events.defer("data").order_by("-id")[:MOST_SHOWN])


def failing() -> list[FailingEndpoint]:
    """Return the endpoints that have been failing the longest without a success."""
    queues = EndpointQueue.objects.failing().select_related("endpoint__tenant")[:MOST_SHOWN]
    return [_failing(queue) for queue in queues]


def _failing(queue: EndpointQueue) -> FailingEndpoint:
    policy = find_retry_policy(queue.endpoint.wire_format)
    return FailingEndpoint(
        queue.endpoint, queue, policy is not None and breaker_is_open(queue.health, policy), off_at(queue, policy)
    )


def _states(engines: Sequence[Engine], now: datetime) -> list[EngineState]:
    good_for = timedelta(seconds=settings().ENGINE.HEARTBEAT_SECONDS)
    taken = EndpointQueue.objects.due(now).filter(holder_id__isnull=False).order_by()
    counts: dict[uuid.UUID | None, int] = dict(taken.values_list("holder_id").annotate(count=Count("pk")))
    return [
        EngineState(engine, engine.is_alive(now), engine.alive_until - good_for, counts.get(engine.pk, 0))
        for engine in engines
    ]


def _held(engines: Sequence[Engine], now: datetime) -> list[HeldQueue]:
    """Return the queues held by engines. A queue was due when an engine took it, and its time changes only at its release."""
    running = {engine.pk: engine for engine in engines}
    held = EndpointQueue.objects.due(now).filter(holder_id__isnull=False).select_related("endpoint")
    return [HeldQueue(queue, running.get(queue.holder_id)) for queue in held[:MOST_SHOWN] if queue.holder_id]
