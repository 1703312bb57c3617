"""Hourly statistics, summed up from results, so that charts never scan attempts."""

from __future__ import annotations

import bisect
import uuid
from collections.abc import Collection, Sequence
from datetime import datetime

from webhooks_app.core.retry import OutcomeKind
from webhooks_app.engine.sql.types import STAT_COUNTS, StatRow
from webhooks_app.engine.types import Result
from webhooks_app.models import LATENCY_EDGES_MS

_EXHAUSTED = STAT_COUNTS.index("exhausted")
_FIRST_LATENCY = STAT_COUNTS.index("latency_0")
_UNREACHABLE = STAT_COUNTS.index("unreachable")
_COLUMN = {kind: STAT_COUNTS.index(kind.value) if kind.value in STAT_COUNTS else _UNREACHABLE for kind in OutcomeKind}


def hour_of(result: Result) -> datetime:
    """Return the hour that a result is counted in."""
    return result.started_at.replace(minute=0, second=0, microsecond=0)


def hourly(results: Sequence[Result], exhausted: Collection[Result]) -> list[StatRow]:
    """Return what to add to each endpoint's hour. Latency is counted only for requests with a response."""
    rows: dict[tuple[uuid.UUID, datetime], StatRow] = {}
    given_up = {id(result) for result in exhausted}
    for result in results:
        key = (result.delivery.endpoint_id, hour_of(result))
        row = rows.get(key)
        if row is None:
            row = rows[key] = StatRow(*key, counts=[0] * len(STAT_COUNTS))
        if result.was_sent:
            row.counts[_COLUMN[result.outcome.kind]] += 1
        row.counts[_EXHAUSTED] += id(result) in given_up
        if result.outcome.status is not None:
            milliseconds = result.duration * 1000
            row.counts[_FIRST_LATENCY + bisect.bisect_left(LATENCY_EDGES_MS, milliseconds)] += 1
            row.latency_sum_ms += milliseconds
            row.latency_max_ms = max(row.latency_max_ms, milliseconds)
    return [row for row in rows.values() if any(row.counts)]
