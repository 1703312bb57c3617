"""Limits on pending events: what `emit` does when the workers do not keep up.

Without a limit this costs nothing. With one, each process counts at most once a second, and no further than the limit; in
between it adds the events that it emits itself. Tenants are not counted while all of them together are within the limit of
one.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from webhooks_app.conf import settings
from webhooks_app.exceptions import BacklogFull
from webhooks_app.models import Event
from webhooks_app.models.lookups import count_up_to

logger = logging.getLogger(__name__)

#: Seconds for which a count is valid.
_COUNT_LASTS = 1.0
#: A slow count is valid for this many times its duration, so that counting takes at most 2% of the time.
_COST_FACTOR = 50
#: Seconds between two warnings of one process.
_WARN_EVERY = 60.0
#: Counts in memory. When there are more, all are forgotten and counted again.
_MOST_COUNTS = 10_000


@dataclass(slots=True)
class _Count:
    """Pending events as last counted (no further than `limit`), plus what this process has emitted since."""

    pending: int
    limit: int
    until: float


#: By database and tenant; the tenant None stands for all tenants.
_counts: dict[tuple[str, uuid.UUID | None], _Count] = {}
_next_warning = 0.0


def check_backlog(events: Iterable[Event], using: str) -> None:
    """Compare the number of pending events with the limits before these events are stored.

    Beyond a limit this logs a warning, at most once a minute. Raises BacklogFull instead where BACKLOG["POLICY"] is "refuse".
    """
    limits = settings().BACKLOG
    per_tenant, in_all = limits.MAX_PENDING_EVENTS_PER_TENANT, limits.MAX_PENDING_EVENTS
    if not (per_tenant or in_all):
        return
    arriving = [event for event in events if not event.quarantine_reason]
    if not arriving:
        return
    total = _count(None, max(per_tenant, in_all), using)
    if in_all:
        _compare(total, len(arriving), in_all, "MAX_PENDING_EVENTS", "all tenants")
    tenants = Counter(event.tenant_id for event in arriving)
    if per_tenant and total.pending + len(arriving) > per_tenant:
        uids = {event.tenant_id: event.tenant_uid for event in arriving}
        for tenant_id, number in tenants.items():
            count = _count(tenant_id, per_tenant, using)
            _compare(count, number, per_tenant, "MAX_PENDING_EVENTS_PER_TENANT", f"tenant {uids[tenant_id]!r}")
    total.pending += len(arriving)
    for tenant_id, number in tenants.items():
        if known := _counts.get((using, tenant_id)):
            known.pending += number


def reset() -> None:
    """Forget every count and the last warning; for tests."""
    global _next_warning
    _counts.clear()
    _next_warning = 0.0


def _count(tenant_id: uuid.UUID | None, limit: int, using: str) -> _Count:
    """Return the count of one tenant, or of all. Threads share it without a lock, since being off by one does not matter."""
    key, now = (using, tenant_id), time.monotonic()
    known = _counts.get(key)
    if known is not None and known.limit == limit and now < known.until:
        return known
    rows = Event.objects.using(using).pending().order_by("id")
    pending = count_up_to(rows if tenant_id is None else rows.filter(tenant_id=tenant_id), limit)
    if len(_counts) >= _MOST_COUNTS:
        _counts.clear()
    done = time.monotonic()
    counted = _counts[key] = _Count(pending, limit, done + max(_COUNT_LASTS, _COST_FACTOR * (done - now)))
    return counted


def _compare(count: _Count, arriving: int, limit: int, setting: str, whose: str) -> None:
    if count.pending + arriving <= limit:
        return
    if settings().BACKLOG.POLICY == "refuse":
        raise BacklogFull(
            "At least %(pending)s events of %(whose)s are pending and %(arriving)s more would exceed the limit of %(limit)s. "
            "Emit again later, or fewer at once. Check that workers run; %(setting)s sets the limit.",
            pending=count.pending,
            whose=whose,
            arriving=arriving,
            limit=limit,
            setting=setting,
        )
    _warn(limit, setting, whose)


def _warn(limit: int, setting: str, whose: str) -> None:
    global _next_warning
    now = time.monotonic()
    if now < _next_warning:
        return
    _next_warning = now + _WARN_EVERY
    logger.warning(
        "webhooks: the pending events of %s exceed %s (%d). Check that workers run, or raise the limit.",
        whose,
        setting,
        limit,
    )
