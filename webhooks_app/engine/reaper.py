"""Release the queues of dead engines, and find out whether a delivery crashed them."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from django.db import transaction
from django.db.models import Case, Exists, F, OuterRef, QuerySet, Value, When
from django.db.models.functions import Greatest

from webhooks_app import telemetry
from webhooks_app.db import divided, in_fresh_transaction, read
from webhooks_app.engine.crash_guard import isolate_culprits
from webhooks_app.engine.sql.types import SUSPICION_LASTS
from webhooks_app.log_thread import engine_logger
from webhooks_app.models import EndpointQueue, Engine, database_now
from webhooks_app.models.ids import public_id
from webhooks_app.models.lookups import any_of, for_change

logger = engine_logger(__name__)

#: How many heartbeats fit into the validity of one.
BEATS = 6
#: Engines whose last heartbeats are closer than this died together: from a power cut or a deployment, not from a delivery.
_TOGETHER = timedelta(seconds=5)
#: Seconds. The heartbeat waits for this.
_LOCK_TIMEOUT = 0.5


class Released(NamedTuple):
    """The number of released queues, and the engines that hold none any more: their rows are removed, unless kept."""

    queues: int = 0
    engines: tuple[uuid.UUID, ...] = ()


class EngineRow(NamedTuple):
    """A row of `Engine`. Creating an instance would send signals: a receiver of the host must not stop a takeover."""

    id: uuid.UUID
    beat_at: datetime
    draining: bool


def _rows(engines: QuerySet[Engine]) -> list[EngineRow]:
    return [EngineRow(*row) for row in engines.values_list("id", "beat_at", "draining")]


def takeover_grace_seconds(heartbeat_seconds: float) -> float:
    """Return for how long (seconds) the database must have been reachable, and its clock not set back, before an expired row
    means a dead engine: one and a half beats, in which every engine that is alive has renewed its row."""
    return 1.5 * heartbeat_seconds / BEATS


def release_dead_engines(using: str, now: datetime, *, keep_row: bool = False) -> Released:
    """Release every queue whose holder's heartbeat has expired by `now`, and remove the rows of these engines.

    A released queue is due at once, because it is unknown what its holder had in flight. The caller must know that the database
    has been reachable for a while, see `takeover_grace_seconds`. `keep_row`: see `release_queues_of`.
    """
    dead = read(lambda: _rows(Engine.objects.using(using).expired(now)), using)
    if not dead:
        return Released()
    crashed, others = _suspicious(dead)
    some = release_queues_of(using, crashed, crashed=True, expired=True, keep_row=keep_row)
    more = release_queues_of(using, others, crashed=False, expired=True, keep_row=keep_row)
    released = Released(some.queues + more.queues, some.engines + more.engines)
    if any(released):  # not if they were left again because a row is locked
        logger.warning(
            "webhooks: %d engine(s) missed their heartbeat; released %d queue(s)", len(dead), released.queues
        )
    return released


def _suspicious(dead: Sequence[EngineRow]) -> tuple[list[uuid.UUID], list[uuid.UUID]]:
    """Return the engines that a delivery may have crashed, and the others: an engine that was draining was stopped on
    purpose, and several that ended at the same time have a common cause."""
    alone = [
        engine
        for engine in dead
        if not engine.draining
        and not any(other is not engine and abs(other.beat_at - engine.beat_at) < _TOGETHER for other in dead)
    ]
    crashed = [engine.id for engine in alone]
    return crashed, [engine.id for engine in dead if engine.id not in set(crashed)]


def release_queues_without_engine(using: str) -> int:
    """Release queues whose holder has no row, because it was deleted by hand. Called by `sweep`."""
    queues = EndpointQueue.objects.using(using)
    alive = Engine.objects.using(using).filter(id=OuterRef("holder_id"))
    ownerless = queues.filter(holder_id__isnull=False).exclude(Exists(alive))
    holders = sorted({holder for holder in ownerless.values_list("holder_id", flat=True) if holder is not None})
    return release_queues_of(using, holders, crashed=False).queues


def release_queues_of(
    using: str, holders: Sequence[uuid.UUID], *, crashed: bool, expired: bool = False, keep_row: bool = False
) -> Released:
    """Release the queues of these engines and remove their rows, in a transaction of its own.

    `crashed`: the takeover is counted. `expired`: their heartbeats had expired; those that have beaten after all are left
    alone.
    Queues whose rows another transaction has locked are left for the next time, and so is the engine's row then.
    `keep_row`: the row always stays, so that another engine finds it and checks for queues that were not woken.
    """
    if not holders:
        return Released()
    work = partial(_release_queues_of, using, holders, crashed=crashed, expired=expired, keep_row=keep_row)
    return in_fresh_transaction(work, using, lock_timeout=_LOCK_TIMEOUT)


def _release_queues_of(
    using: str, holders: Sequence[uuid.UUID], *, crashed: bool, expired: bool, keep_row: bool
) -> Released:
    engines = Engine.objects.using(using)
    rows = _rows(for_change(engines.filter(id__in=holders).order_by("id"), skip_locked=True))
    now = database_now(using)
    if expired:
        holders = list(engines.filter(id__in=[row.id for row in rows]).expired(now).values_list("id", flat=True))
        rows = [row for row in rows if row.id in holders]
    queues = EndpointQueue.objects.using(using)
    held = queues.filter(holder_id__in=holders)
    locked = list(held.locked(skip_locked=True).values_list("endpoint_id", flat=True))
    released = 0
    if locked:
        due = {"due_at": Greatest(F("not_before"), Value(now))}
        released = _release(held, locked, due | (_takeover(now) if crashed else {}), using)
        if crashed:
            telemetry.count("crash_takeovers", released)
            isolate_culprits(locked, max(row.beat_at for row in rows), now, using)
    return Released(released, _remove_rows(rows, using, keep_row=keep_row))


def _release(held: QuerySet[EndpointQueue], locked: list[uuid.UUID], changes: dict[str, object], using: str) -> int:
    """Release the queues. Skip queues whose rows the database refuses to change."""
    released = 0

    def release_these(ids: list[uuid.UUID]) -> None:
        nonlocal released
        with transaction.atomic(using=using):  # a savepoint
            rows = held.filter(any_of("endpoint_id", ids))
            released += rows.update(holder_id=None, **changes)

    def leave(endpoint_id: uuid.UUID, error: Exception) -> None:
        logger.error("webhooks: the queue of %s cannot be released: %r", public_id("wh", endpoint_id), error)

    divided(release_these, locked, leave)
    return released


def _takeover(now: datetime) -> dict[str, object]:
    """Return the columns that count one more takeover, or the first one if the last was long ago."""
    lately = When(crashed_at__gt=now - SUSPICION_LASTS, then=F("crash_takeovers") + 1)
    return {"crash_takeovers": Case(lately, default=Value(1)), "crashed_at": now}


def _remove_rows(rows: Collection[EngineRow], using: str, *, keep_row: bool) -> tuple[uuid.UUID, ...]:
    """Remove the rows of engines that hold no queue any more, unless `keep_row`. Return their ids."""
    gone = [row.id for row in rows]
    holding = EndpointQueue.objects.using(using).filter(holder_id__in=gone)
    kept = {key for key in holding.order_by().values_list("holder_id", flat=True).distinct() if key is not None}
    free = [key for key in gone if key not in kept]
    if keep_row:
        kept.update(free)
    elif free:  # without model signals: a receiver of the host must not stop a takeover
        Engine.objects.using(using).filter(id__in=free)._raw_delete(using)
    # The rest is released the next time. It was counted, or nothing is to be counted: the mark says so.
    Engine.objects.using(using).filter(id__in=kept).update(draining=True, alive_until=database_now(using))
    return tuple(free)
