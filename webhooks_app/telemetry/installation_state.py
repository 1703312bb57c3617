"""Read the state of the whole installation from the database. Every read is bounded and goes through an index."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import connections, transaction
from django.db.models import OuterRef, Q, Subquery

from webhooks_app.conf import settings
from webhooks_app.core.installation_health import InstallationState, Limits, LiveEngine
from webhooks_app.models import Delivery, EndpointQueue, Engine, Event, database_now
from webhooks_app.models.ids import first_id
from webhooks_app.models.lookups import count_up_to
from webhooks_app.models.queue import EndpointQueueQuerySet
from webhooks_app.telemetry.beat import beat_state

#: Nothing is counted further than this.
MOST_COUNTED = 10_000
_MOST_ENGINES = 100
#: Due queues of which the work is looked at for its age.
_LOOKED_AT = 1000
#: Quarantined events older than this are no longer reported.
_QUARANTINE = timedelta(hours=24)
#: Windows of results that an engine may have unrecorded; it stops sending at eight.
_UNRECORDED_WINDOWS = 4
#: A late heartbeat, as a share of its life: it is renewed at a sixth.
_LATE_HEARTBEAT = 2 / 3


@dataclass(frozen=True, slots=True)
class PendingWork:
    """Work that no engine has started, each counted up to MOST_COUNTED, and since when the oldest is due."""

    queues: int
    oldest_due: datetime | None
    events: int
    oldest_event: datetime | None


def limits() -> Limits:
    """Return the limits from the current settings."""
    chosen = settings()
    return Limits(
        overdue=chosen.MONITORING.OVERDUE_SECONDS,
        heartbeat_late=chosen.ENGINE.HEARTBEAT_SECONDS * _LATE_HEARTBEAT,
        unrecorded=chosen.ENGINE.WINDOW * _UNRECORDED_WINDOWS,
    )


def read_installation_state() -> InstallationState:
    """Read the input of `core.installation_health.health_findings`."""
    now, drift = _clock()
    engines = list(Engine.objects.order_by("-alive_until")[:_MOST_ENGINES])
    alive = [engine for engine in engines if engine.is_alive(now)]
    found = pending_work(now)
    quarantined = Event.objects.quarantined().filter(id__gte=first_id(now - _QUARANTINE)).order_by("id")
    return InstallationState(
        engines=tuple(_engine(engine, now) for engine in alive),
        dead_engines=len(engines) - len(alive),
        overdue_queues=found.queues,
        oldest_due_age=_age(found.oldest_due, now),
        pending_events=found.events,
        oldest_event_age=_age(found.oldest_event, now),
        quarantined_events=count_up_to(quarantined, MOST_COUNTED),
        clock_drift=drift,
        beat=beat_state(),
    )


def pending_work(now: datetime) -> PendingWork:
    """Count the queues with due work that no live engine holds, and the events that wait for fan-out."""
    alive = list(Engine.objects.alive(now).values_list("id", flat=True))
    # What a dead engine holds waits, too, until another engine or a sweep takes it over.
    free = Q(holder_id__isnull=True) | ~Q(holder_id__in=alive)
    queues = EndpointQueue.objects.due(now).filter(free)
    events = Event.objects.pending().order_by("id")
    first = events.only("created_at").first()
    return PendingWork(
        queues=count_up_to(queues, MOST_COUNTED),
        oldest_due=min(map(_due_since, _with_first(queues)), default=None),
        events=count_up_to(events, MOST_COUNTED),
        oldest_event=first.created_at if first else None,
    )


def _with_first(queues: EndpointQueueQuerySet) -> list[EndpointQueue]:
    """Return the first due queues, annotated with `first`: when their earliest pending delivery became due."""
    pending = Delivery.objects.pending().filter(endpoint_id=OuterRef("endpoint_id"))
    earliest = pending.order_by("next_attempt_at", "id").values("next_attempt_at")[:1]
    return list(queues.annotate(first=Subquery(earliest))[:_LOOKED_AT])


def _due_since(queue: EndpointQueue) -> datetime:
    """Return when the oldest pending delivery of the queue became due.

    `due_at` may be later: a queue is due again only after its turn, and its work has waited for longer.
    """
    first: datetime | None = getattr(queue, "first", None)
    return min(queue.due_at, max(queue.not_before, first)) if first is not None else queue.due_at


@contextmanager
def bounded(using: str, seconds: float) -> Iterator[None]:
    """A short transaction in which PostgreSQL gives up a statement after so long. Other databases have no such limit."""
    with transaction.atomic(using=using):
        connection = connections[using]
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                # LOCAL: behind a connection pool, a setting of the session would reach other clients.
                cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(int(seconds * 1000))])
        yield


def _clock() -> tuple[datetime, float]:
    """Return the database's time, and how many seconds this machine's clock is ahead of it (± half the round trip)."""
    before = datetime.now(UTC)
    now = database_now()
    after = datetime.now(UTC)
    middle = before + (after - before) / 2
    return now, (middle - now).total_seconds()


def _engine(row: Engine, now: datetime) -> LiveEngine:
    return LiveEngine(
        id=str(row.pk),
        name=str(row),
        kind=row.kind,
        heartbeat_age=_age(row.beat_at, now) or 0.0,
        # At the heartbeat, which wrote them down: after it, only the heartbeat itself is late.
        database_turn_age=_age(row.database_turn_at, row.beat_at) or 0.0,
        sending_turn_age=_age(row.sending_turn_at, row.beat_at) or 0.0,
        in_flight=row.in_flight,
        unrecorded=row.unrecorded,
        clock_drift=row.clock_drift,
        draining=row.draining,
    )


def _age(since: datetime | None, now: datetime) -> float | None:
    return None if since is None else max((now - since).total_seconds(), 0.0)
