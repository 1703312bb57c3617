"""Match events to endpoints: read the subscriptions, and evaluate them with `core.filters.wants`."""

from __future__ import annotations

import json
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, partial
from typing import Any

from django.db import connections
from django.db.models import Case, Expression, F, Func, IntegerField, TextField, When
from django.db.models.functions import Cast, Length, Now
from django.db.models.lookups import GreaterThan

from webhooks_app.core.comparisons import ComparisonBudget
from webhooks_app.core.endpoint_kind import EndpointKind
from webhooks_app.core.filters import passes_or_costs_too_much, patterns_for, wants
from webhooks_app.db import read
from webhooks_app.engine.sql.fan_out import EMPTY_FILTERS_SIZE
from webhooks_app.engine.types import PendingEvent
from webhooks_app.log_thread import engine_logger
from webhooks_app.models import Endpoint, EndpointStatus, Event, Subscription
from webhooks_app.models.event import payload_field
from webhooks_app.models.lookups import any_of

logger = engine_logger(__name__)

#: The limits of the filters of one batch, in comparisons and in seconds; then the batch ends, and others have their turn.
_COMPARISONS = 100_000
_LONGEST = 0.1
#: Bytes of JSON that cost as much to read or parse as one comparison.
_BYTES_A_COMPARISON = 32
#: How many endpoints' filters to read at once, and how many characters of filters to keep for the next event.
_FILTERS_AT_ONCE = 8
_MOST_KEPT = 2_000_000


class InvalidEventData(ValueError):
    """The event's stored data is not valid JSON, or is nested too deep to be parsed."""


@dataclass(slots=True)
class Target:
    """An endpoint as the fan-out sees it."""

    endpoint_id: uuid.UUID
    tenant_id: uuid.UUID
    wire_format: str
    channels: list[str] = field(default_factory=list)
    created_at: datetime | None = None
    filtered: bool = False
    patterns: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Matches:
    """For each event, in order, the endpoints that get it. Events at the end of the input may be missing and stay pending."""

    events: list[tuple[PendingEvent, list[Target]]]
    #: Not None: the (only) event has more endpoints after this one.
    position: uuid.UUID | None = None


def match(events: Sequence[PendingEvent], using: str, *, subscriptions: int, deliveries: int) -> Matches:
    """Return the endpoints that want these events. `events` is not empty, and is in order.

    Stops after `deliveries`, or when the filters have used up the batch's budget. If more than `subscriptions` subscriptions
    would have to be read, only the first event is matched, from its stored position on, and `position` says where it stopped.
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
    return _match_within(events, _by_tenant(rows), position, deliveries, using)


def _match_within(
    events: Sequence[PendingEvent],
    targets: dict[uuid.UUID, list[Target]],
    position: uuid.UUID | None,
    deliveries: int,
    using: str,
) -> Matches:
    cost = ComparisonBudget(_COMPARISONS)
    filters = _Filters(using, cost)
    end = time.monotonic() + _LONGEST
    done: list[tuple[PendingEvent, list[Target]]] = []
    for event in events:
        wanting: list[Target] = []
        last: uuid.UUID | None = None
        for target, wanted in _judged(event, targets[event.tenant_id], filters, cost):
            full = len(wanting) == deliveries or cost.spent >= cost.limit or (cost.spent and time.monotonic() > end)
            if full and (done or last is not None):
                # No room for this target: the event waits for the next batch or, if it is the first event, is split here. Its
                # first target always has room: without a position the event would count as done.
                return Matches(done) if done else Matches([(event, wanting)], last)
            last = target.endpoint_id
            if wanted:
                wanting.append(target)
        deliveries -= len(wanting)
        done.append((event, wanting))
    return Matches(done, position)


def _judged(
    event: PendingEvent, targets: Sequence[Target], filters: _Filters, cost: ComparisonBudget
) -> Iterator[tuple[Target, bool]]:
    """Yield each target, by endpoint id, and whether it wants the event. Endpoints created after the event do not get it."""
    results: dict[str, bool] = {}  # of each distinct text of filters

    @cache
    def data() -> Any:  # parsed only if there are filters
        try:
            text = filters.data_of(event)
            cost.spent += len(text) // _BYTES_A_COMPARISON
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidEventData(f"{type(error).__name__}: {error}") from error

    def filters_pass(place: int) -> bool:
        text = filters.of(targets, place)
        if text not in results:
            results[text] = _passes(targets[place], text, data, cost)
        return results[text]

    for place, target in enumerate(targets):
        yield target, wants(target, event, partial(filters_pass, place) if target.filtered else None)


def _passes(target: Target, text: str, data: Callable[[], Any], cost: ComparisonBudget) -> bool:
    cost.spent += len(text) // _BYTES_A_COMPARISON
    budget = ComparisonBudget()
    try:
        return passes_or_costs_too_much(json.loads(text), data(), budget)
    finally:
        cost.spent += budget.spent
        if budget.is_used_up:
            logger.warning(
                "webhooks: the filters of endpoint %s cost too much; the event is sent to it", target.endpoint_id
            )


class _Filters:
    """The filters of endpoints as text, read when the first event is compared with them: those of thousands of endpoints do
    not fit into memory, and a batch may end before it needs them."""

    def __init__(self, using: str, cost: ComparisonBudget) -> None:
        self._using = using
        self._cost = cost
        self._texts: dict[uuid.UUID, str] = {}

    def of(self, targets: Sequence[Target], place: int) -> str:
        """Return the filters of the target at this position, and read those of the next ones with them. An endpoint that was
        removed meanwhile gets filters that match nothing."""
        wanted = targets[place].endpoint_id
        if wanted not in self._texts:
            self._read([target.endpoint_id for target in targets[place:] if target.filtered][:_FILTERS_AT_ONCE])
        return self._texts.get(wanted, "null")

    def data_of(self, event: PendingEvent) -> str:
        """Return the event's data as JSON text. Raises SealingError if it cannot be decrypted."""
        # Not with `read`, whose transaction takes as long again: this is done for each event.
        stored = Event.objects.using(self._using).values_list("data", flat=True).get(id=event.id)
        return str(payload_field().open(event.id, stored))

    def _read(self, ids: Sequence[uuid.UUID]) -> None:
        if sum(map(len, self._texts.values())) > _MOST_KEPT:
            self._texts.clear()
        rows = Endpoint.objects.using(self._using).filter(any_of("id", ids))
        texts = dict(read(lambda: list(rows.values_list("id", Cast("filters", TextField()))), self._using))
        self._texts.update(texts)
        self._cost.spent += sum(map(len, texts.values())) // _BYTES_A_COMPARISON


def _read(events: Sequence[PendingEvent], using: str, after: uuid.UUID | None, most: int) -> list[tuple[Any, ...]]:
    receiving = (EndpointStatus.ACTIVE, EndpointStatus.PAUSED)
    patterns = {pattern for event in events for pattern in patterns_for(event.type)}
    wanted = (
        Subscription.objects.using(using)
        .filter(
            any_of("endpoint__tenant_id", {event.tenant_id for event in events}),
            endpoint__status__in=receiving,
            pattern__in=patterns,
        )
        .exclude(endpoint__kind=EndpointKind.CALLBACK)
    )
    if after is not None:
        wanted = wanted.filter(endpoint_id__gt=after)
    fields = (
        "endpoint_id",
        "endpoint__tenant_id",
        "endpoint__wire_format",
        "endpoint__channels",
    )
    # Created in the future: the database's clock was set back since, and the times do not show whether the event is older.
    created_at = Case(When(endpoint__created_at__lte=Now(), then="endpoint__created_at"))
    columns = (*fields, created_at, _is_filtered(using), "pattern")
    ordered = wanted.order_by("endpoint_id") if len(events) == 1 else wanted
    return read(lambda: list(ordered.values_list(*columns)[: most + 1]), using)


def _is_filtered(using: str) -> Expression:
    """Return an expression for whether a subscription's endpoint has filters, by their stored size, without reading them."""
    if connections[using].vendor == "postgresql":
        size: Func = Func(F("endpoint__filters"), function="pg_column_size", output_field=IntegerField())
        return GreaterThan(size, EMPTY_FILTERS_SIZE)
    return GreaterThan(Length(Cast("endpoint__filters", TextField())), len("{}"))


def _by_tenant(rows: Sequence[tuple[Any, ...]]) -> dict[uuid.UUID, list[Target]]:
    """Return the targets of each tenant, sorted by endpoint id."""
    targets: dict[uuid.UUID, Target] = {}
    for endpoint_id, tenant_id, wire_format, channels, created_at, filtered, pattern in rows:
        target = targets.get(endpoint_id)
        if target is None:
            target = targets[endpoint_id] = Target(endpoint_id, tenant_id, wire_format, channels, created_at, filtered)
        target.patterns.add(pattern)
    by_tenant: dict[uuid.UUID, list[Target]] = defaultdict(list)
    for target in sorted(targets.values(), key=lambda target: target.endpoint_id):
        by_tenant[target.tenant_id].append(target)
    return by_tenant
