"""Requests by hour, of one endpoint, one tenant or all: plain values for charts."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any

from django.db.models import Max, Sum
from django.utils import timezone

from webhooks_app.models import LATENCY_EDGES_MS, Endpoint, HourlyStat
from webhooks_app.models.queue import HourlyStatQuerySet

#: The columns of HourlyStat that count requests, in the order in which charts stack them.
OUTCOMES = ("succeeded", "redirect", "client_error", "server_error", "timeout", "unreachable")
#: The most hours that are read at once.
MOST_HOURS = 31 * 24
_BUCKETS = tuple(f"latency_{place}" for place in range(len(LATENCY_EDGES_MS) + 1))
_SUMS = (*OUTCOMES, "exhausted", "latency_sum_ms", *_BUCKETS)


@dataclass(frozen=True, slots=True)
class HourlyCounts:
    """What was sent in the hour that begins at `start` (aware, UTC). `exhausted` counts deliveries that failed permanently."""

    start: datetime
    succeeded: int = 0
    redirect: int = 0
    client_error: int = 0
    server_error: int = 0
    timeout: int = 0
    unreachable: int = 0
    exhausted: int = 0
    latency_sum_ms: float = 0.0
    latency_max_ms: float = 0.0
    #: Responses by response time: one number for each of LATENCY_EDGES_MS, and one for all slower responses.
    latencies: tuple[int, ...] = (0,) * len(_BUCKETS)

    @property
    def requests(self) -> int:
        return sum(getattr(self, name) for name in OUTCOMES)

    @property
    def failed(self) -> int:
        return self.requests - self.succeeded

    @property
    def latency_mean_ms(self) -> float | None:
        """Return the mean response time in milliseconds; None if there were no responses."""
        answered = sum(self.latencies)
        return self.latency_sum_ms / answered if answered else None

    def latency_ms(self, share: float) -> float | None:
        """Return the response time in milliseconds that this share of the responses did not exceed; None without responses.

        This is the upper edge of a bucket, so it may be too high by up to one bucket, but never exceeds the slowest response.
        """
        answered = sum(self.latencies)
        if not answered:
            return None
        seen = 0
        for edge, count in zip(LATENCY_EDGES_MS, self.latencies, strict=False):
            seen += count
            if seen >= share * answered:
                return min(float(edge), self.latency_max_ms)
        return self.latency_max_ms


def hours_of_endpoint(endpoint_id: uuid.UUID, until: datetime, hours: int = 24) -> list[HourlyCounts]:
    """Return the last hours up to the one that contains `until`, oldest first, including hours without requests."""
    return _hours(HourlyStat.objects.of_endpoint(endpoint_id), until, hours)


def hours_of_each(
    endpoint_ids: Sequence[uuid.UUID], until: datetime, hours: int = 24
) -> dict[uuid.UUID, list[HourlyCounts]]:
    """Return the same as `hours_of_endpoint` for several endpoints, in one query. Meant for one page of endpoints, not for
    all."""
    starts = _starts(until, hours)
    rows = HourlyStat.objects.filter(endpoint_id__in=endpoint_ids)
    found = _summed(rows, starts, "endpoint_id")
    summed = {(row["endpoint_id"], row["hour"]): row for row in found}
    return {key: [_hour(start, summed.get((key, start))) for start in starts] for key in endpoint_ids}


def hours_of_tenant(tenant_id: uuid.UUID, until: datetime) -> list[HourlyCounts]:
    """Return the same as `hours_of_endpoint`, summed over all endpoints of the tenant."""
    endpoints = Endpoint.objects.filter(tenant_id=tenant_id)
    return _hours(HourlyStat.objects.filter(endpoint_id__in=endpoints.values("pk")), until)


def hours_of_all(until: datetime, hours: int = 24) -> list[HourlyCounts]:
    """Return the same as `hours_of_endpoint`, summed over all tenants."""
    return _hours(HourlyStat.objects.all(), until, hours)


def by_day(hours: Sequence[HourlyCounts], zone: tzinfo | None = None) -> list[HourlyCounts]:
    """Add up the hours by day in this time zone (None: Django's current one); each day starts with its first hour."""
    days: dict[date, list[HourlyCounts]] = {}
    for hour in hours:
        days.setdefault(timezone.localtime(hour.start, zone).date(), []).append(hour)
    return [_together(day) for day in days.values()]


def requests_of(hours: Sequence[HourlyCounts]) -> int:
    return sum(hour.requests for hour in hours)


def _together(hours: Sequence[HourlyCounts]) -> HourlyCounts:
    counts = {name: sum(getattr(hour, name) for hour in hours) for name in (*OUTCOMES, "exhausted", "latency_sum_ms")}
    buckets = tuple(map(sum, zip(*(hour.latencies for hour in hours), strict=True)))
    return HourlyCounts(
        hours[0].start, **counts, latency_max_ms=max(hour.latency_max_ms for hour in hours), latencies=buckets
    )


def _hours(rows: HourlyStatQuerySet, until: datetime, hours: int = 24) -> list[HourlyCounts]:
    starts = _starts(until, hours)
    summed = {row["hour"]: row for row in _summed(rows, starts)}
    return [_hour(start, summed.get(start)) for start in starts]


def _starts(until: datetime, hours: int) -> list[datetime]:
    last = until.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return [last - timedelta(hours=back) for back in reversed(range(min(hours, MOST_HOURS)))]


def _summed(rows: HourlyStatQuerySet, starts: Sequence[datetime], *keys: str) -> Iterable[dict[str, Any]]:
    sums: dict[str, Any] = {f"{name}__sum": Sum(name) for name in _SUMS}
    found = rows.between(starts[0], starts[-1] + timedelta(hours=1)).order_by().values(*keys, "hour")
    rows_of_hours: Iterable[dict[str, Any]] = found.annotate(**sums, slowest=Max("latency_max_ms"))
    return rows_of_hours


def _hour(start: datetime, row: Mapping[str, Any] | None) -> HourlyCounts:
    if row is None:
        return HourlyCounts(start)
    counts = {name: row[f"{name}__sum"] for name in (*OUTCOMES, "exhausted", "latency_sum_ms")}
    buckets = tuple(row[f"{name}__sum"] for name in _BUCKETS)
    return HourlyCounts(start, **counts, latency_max_ms=row["slowest"], latencies=buckets)
