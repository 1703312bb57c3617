"""Which endpoints want which events."""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

from webhooks_app.core.filters import channel_wanted, passes, patterns_for
from webhooks_app.models import EndpointStatus, Event, Subscription
from webhooks_app.models.lookups import any_of


@dataclass(slots=True)
class Target:
    """An endpoint as the fan-out sees it."""

    endpoint_id: uuid.UUID
    tenant_id: uuid.UUID
    profile: str
    channels: list[str] = field(default_factory=list)
    created_at: datetime | None = None
    #: Pattern → filters.
    wishes: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(slots=True)
class Matches:
    """For each event, in order, who gets it."""

    events: list[tuple[Event, list[Target]]]
    #: Not None: the (only) event has more endpoints after this one.
    position: uuid.UUID | None = None


def match(events: Sequence[Event], using: str, most: int) -> Matches:
    """Find the endpoints that want these events. `events` is not empty and in order. Where that takes more than `most`
    subscriptions, only the first event is matched, from its stored position on, and `position` tells where it stopped."""
    if events[0].fan_out_position is None:
        rows = _read(events, using, None, most)
        if len(rows) <= most:
            return Matches([(event, _wanting(event, targets)) for event, targets in _by_event(events, rows)])
    first = events[0]
    rows = _read([first], using, first.fan_out_position, most)
    position = None
    if len(rows) > most:
        # The last endpoint may have subscriptions beyond the page: leave it to the next one.
        last = rows[-1][0]
        rows = [row for row in rows if row[0] != last]
        position = rows[-1][0]
    return Matches([(event, _wanting(event, targets)) for event, targets in _by_event([first], rows)], position)


def _read(events: Sequence[Event], using: str, after: uuid.UUID | None, most: int) -> list[tuple[Any, ...]]:
    receiving = (EndpointStatus.ACTIVE, EndpointStatus.PAUSED)
    patterns = {pattern for event in events for pattern in patterns_for(event.type)}
    wanted = Subscription.objects.using(using).filter(
        any_of("endpoint__tenant_id", {event.tenant_id for event in events}),
        endpoint__status__in=receiving,
        endpoint__hidden=False,
        pattern__in=patterns,
    )
    if after is not None:
        wanted = wanted.filter(endpoint_id__gt=after)
    fields = ("endpoint_id", "endpoint__tenant_id", "endpoint__profile", "endpoint__channels", "endpoint__created_at")
    ordered = wanted.order_by("endpoint_id") if len(events) == 1 else wanted
    return list(ordered.values_list(*fields, "pattern", "filters")[: most + 1])


def _by_event(events: Sequence[Event], rows: Sequence[tuple[Any, ...]]) -> list[tuple[Event, list[Target]]]:
    targets: dict[uuid.UUID, Target] = {}
    by_tenant: dict[uuid.UUID, list[Target]] = defaultdict(list)
    for endpoint_id, tenant_id, profile, channels, created_at, pattern, filters in rows:
        target = targets.get(endpoint_id)
        if target is None:
            target = targets[endpoint_id] = Target(endpoint_id, tenant_id, profile, channels, created_at)
            by_tenant[tenant_id].append(target)
        target.wishes[pattern] = filters
    return [(event, by_tenant[event.tenant_id]) for event in events]


def _wanting(event: Event, targets: Sequence[Target]) -> list[Target]:
    """Those that want it, by endpoint id. An endpoint that was made after the event does not get it."""
    patterns = patterns_for(event.type)

    @cache
    def data() -> Any:
        return json.loads(event.data)

    wanting = [
        target
        for target in targets
        if (target.created_at is None or target.created_at <= event.created_at)
        and channel_wanted(target.channels, event.channels)
        and _wishes_fit(target.wishes, patterns, data)
    ]
    return sorted(wanting, key=lambda target: target.endpoint_id)


def _wishes_fit(wishes: dict[str, dict[str, Any]], patterns: Sequence[str], data: Callable[[], Any]) -> bool:
    """Does any of the subscriptions fit, filters included? The data is parsed only where there are filters."""
    for pattern in patterns:
        filters = wishes.get(pattern)
        if filters is not None and (not filters or passes(filters, data())):
            return True
    return False
