"""Which endpoints want which events."""

from __future__ import annotations

import json
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

from webhooks_app.core.comparisons import ComparisonBudget
from webhooks_app.core.filters import channel_wanted, passes, patterns_for
from webhooks_app.db import read
from webhooks_app.exceptions import FilterTooCostly
from webhooks_app.log_thread import engine_logger
from webhooks_app.models import EndpointStatus, Event, Subscription
from webhooks_app.models.lookups import any_of

logger = engine_logger(__name__)

#: Comparisons that the filters of one batch may cost, and seconds; then the batch ends, and others have their turn.
_COMPARISONS = 100_000
_LONGEST = 0.1
#: Bytes of JSON that cost as much to parse as a comparison.
_BYTES_A_COMPARISON = 16


class InvalidEventData(ValueError):
    """The event's stored data is no JSON."""


@dataclass(slots=True)
class Target:
    """An endpoint as the fan-out sees it."""

    endpoint_id: uuid.UUID
    tenant_id: uuid.UUID
    profile: str
    channels: list[str] = field(default_factory=list)
    created_at: datetime | None = None
    #: Pattern → filters, and the same as text: equal filters are evaluated once.
    subscriptions: dict[str, tuple[Any, str]] = field(default_factory=dict)


@dataclass(slots=True)
class Matches:
    """For each event, in order, the endpoints that get it. Events at the end of the input may be missing: they wait."""

    events: list[tuple[Event, list[Target]]]
    #: Not None: the (only) event has more endpoints after this one.
    position: uuid.UUID | None = None


def match(events: Sequence[Event], using: str, *, subscriptions: int, deliveries: int) -> Matches:
    """Find the endpoints that want these events, which are not empty and in order.

    Stops after `deliveries`, and where filters have cost enough for one batch. Where it would take more than so many
    `subscriptions`, only the first event is matched, from its stored position on, and `position` says where it stopped.
    """
    whole = events[0].fan_out_position is None
    rows = _read(events, using, None, subscriptions) if whole else []
    if not whole or len(rows) > subscriptions:
        events = events[:1]
        rows = _read(events, using, events[0].fan_out_position, subscriptions)
    position = None
    if len(rows) > subscriptions:
        # The last endpoint may have subscriptions beyond the page: leave it to the next one.
        last = rows[-1][0]
        rows = [row for row in rows if row[0] != last]
        position = rows[-1][0]
    return _match_within(events, _by_tenant(rows), position, deliveries)


def _match_within(
    events: Sequence[Event],
    targets: dict[uuid.UUID, list[Target]],
    position: uuid.UUID | None,
    deliveries: int,
) -> Matches:
    cost = ComparisonBudget(_COMPARISONS)
    end = time.monotonic() + _LONGEST
    done: list[tuple[Event, list[Target]]] = []
    for event in events:
        wanting: list[Target] = []
        last: uuid.UUID | None = None
        for target, wants in _judged(event, targets[event.tenant_id], cost):
            full = len(wanting) == deliveries or cost.spent >= cost.limit or (cost.spent and time.monotonic() > end)
            if full and (done or last is not None):
                # No room for this one: the event waits for the next batch, or, where it is the first, is cut here. Its first
                # target has room in any case: without a position the event would count as done.
                return Matches(done) if done else Matches([(event, wanting)], last)
            last = target.endpoint_id
            if wants:
                wanting.append(target)
        deliveries -= len(wanting)
        done.append((event, wanting))
    return Matches(done, position)


def _judged(event: Event, targets: Sequence[Target], cost: ComparisonBudget) -> Iterator[tuple[Target, bool]]:
    """Each target, by endpoint id, and whether it wants the event. One created after the event does not get it."""
    patterns = patterns_for(event.type)

    @cache
    def data() -> Any:
        try:
            text = event.data
            cost.spent += len(text) // _BYTES_A_COMPARISON
            return json.loads(text)
        except ValueError as error:
            raise InvalidEventData(f"{type(error).__name__}: {error}") from error

    results: dict[str, bool] = {}  # of each distinct filter
    for target in targets:
        fits = (target.created_at is None or target.created_at <= event.created_at) and channel_wanted(
            target.channels, event.channels
        )
        yield target, fits and _any_fits(target, patterns, data, results, cost)


def _any_fits(
    target: Target,
    patterns: Sequence[str],
    data: Callable[[], Any],
    results: dict[str, bool],
    cost: ComparisonBudget,
) -> bool:
    """Return whether any of the subscriptions fits, filters included. The data is parsed only where there are filters."""
    filters = [target.subscriptions[pattern] for pattern in patterns if pattern in target.subscriptions]
    if not all(key for _, key in filters):
        return bool(filters)
    budget = ComparisonBudget()
    try:
        for one, key in filters:
            if key not in results:
                results[key] = passes(one, data(), budget)
            if results[key]:
                return True
        return False
    except FilterTooCostly:
        # Better one event too many than one lost.
        logger.warning(
            "webhooks: the filters of endpoint %s cost too much; the event is sent to it", target.endpoint_id
        )
        return True
    finally:
        cost.spent += budget.spent


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
    return read(lambda: list(ordered.values_list(*fields, "pattern", "filters")[: most + 1]), using)


def _by_tenant(rows: Sequence[tuple[Any, ...]]) -> dict[uuid.UUID, list[Target]]:
    """The targets of each tenant, by endpoint id."""
    targets: dict[uuid.UUID, Target] = {}
    for endpoint_id, tenant_id, profile, channels, created_at, pattern, filters in rows:
        target = targets.get(endpoint_id)
        if target is None:
            target = targets[endpoint_id] = Target(endpoint_id, tenant_id, profile, channels, created_at)
        target.subscriptions[pattern] = filters, json.dumps(filters, sort_keys=True) if filters else ""
    by_tenant: dict[uuid.UUID, list[Target]] = defaultdict(list)
    for target in sorted(targets.values(), key=lambda target: target.endpoint_id):
        by_tenant[target.tenant_id].append(target)
    return by_tenant
