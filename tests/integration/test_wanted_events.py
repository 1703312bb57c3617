"""Fan-out in Python, fan-out in SQL and recovery agree with `core.filters.wants` on who wants which event."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.factories import TenantFactory
from webhooks_app.core.filters import passes, wants
from webhooks_app.deliveries.recover import recover
from webhooks_app.engine.matching import match
from webhooks_app.engine.sql.fan_out import SqlFanOut, fan_out_in_sql
from webhooks_app.models import (
    BLOCKED,
    Delivery,
    Endpoint,
    EndpointQueue,
    EndpointStatus,
    Event,
    Subscription,
    Tenant,
    database_now,
)

pytestmark = pytest.mark.django_db

#: When events were emitted; endpoints were created then, or a microsecond, an hour before or after.
MOMENT = datetime(2026, 1, 1, 12, 0, 0, 1, tzinfo=UTC)
NEAR = st.sampled_from(
    [timedelta(microseconds=each) for each in (-1, 0, 1)] + [timedelta(hours=each) for each in (-1, 1)]
)

TYPES = ("a", "a.b", "a.b.c", "a_b", "a_b.c", "axb.c", "ab.c", "a-b.c", "A.b", "b", "b.a")
PATTERNS = ("*", *TYPES, *(f"{type_}.*" for type_ in TYPES))
CHANNELS = ("x", "X", "x y", "number:1", "é", "e\u0301", '"', "\\", "'", "[]", "{x}", "%", "null")

#: Filters with whether `{"n": 1}` fits them.
FILTERS: tuple[dict[str, Any], ...] = ({"data.n": 1}, {"data.n": {"gt": 1}}, {"$not": {"data.m": {"exists": True}}})
DATA = {"n": 1}


@dataclass(frozen=True)
class Scene:
    """One tenant's endpoints and events, before they are stored."""

    endpoints: Sequence[dict[str, Any]]
    events: Sequence[dict[str, Any]]


def _endpoints(filters: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "patterns": st.lists(st.sampled_from(PATTERNS), max_size=4, unique=True),
            "channels": st.just([]) | st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=3, unique=True),
            # Most are active: of the others nothing is to be seen.
            "status": st.just(EndpointStatus.ACTIVE) | st.sampled_from(EndpointStatus),
            # As the endpoint behind a callback URL is.
            "kind": st.sampled_from(["url", "url", "playground", "callback"]),
            "created_at": st.builds(lambda shift: MOMENT + shift, NEAR),
            "filters": filters,
        }
    )


EVENTS = st.fixed_dictionaries(
    {
        "type": st.sampled_from(TYPES),
        "channels": st.lists(st.sampled_from(CHANNELS), max_size=3, unique=True),
        "callback_url": st.sampled_from(["", "", "", "https://example.com/back"]),
    }
)


def scenes(filters: st.SearchStrategy[Any]) -> st.SearchStrategy[Scene]:
    return st.builds(
        Scene, st.lists(_endpoints(filters), min_size=1, max_size=6), st.lists(EVENTS, min_size=1, max_size=4)
    )


NO_FILTERS: st.SearchStrategy[Any] = st.just({})
SOME_FILTERS: st.SearchStrategy[Any] = NO_FILTERS | st.sampled_from(FILTERS)
#: An endpoint that wants all there is: without it, a mistake that lets nothing through might not be noticed.
OPEN = {
    "patterns": ["*"],
    "channels": [],
    "status": EndpointStatus.ACTIVE,
    "kind": "url",
    "created_at": MOMENT,
    "filters": {},
}
PLAIN = {"type": "a.b", "channels": ["x"], "callback_url": ""}

many = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
few = settings(many, max_examples=40)
_numbers = itertools.count()


def stored(scene: Scene, **event_values: Any) -> tuple[Tenant, list[Endpoint], list[Event]]:
    """Store a scene as rows of a tenant of its own. The endpoints' patterns become `Subscription` rows."""
    tenant = TenantFactory(uid=f"tenant-{uuid.uuid4()}")
    endpoints = []
    for values in scene.endpoints:
        fields = {name: value for name, value in values.items() if name != "patterns"}
        url = f"https://receiver-{next(_numbers)}.example.com/"
        endpoints.append(Endpoint(tenant=tenant, url=url, **fields))
    Endpoint.objects.bulk_create(endpoints)
    queues = [EndpointQueue(endpoint=each, tenant_id=tenant.pk, not_before=BLOCKED, fifo=False) for each in endpoints]
    EndpointQueue.objects.bulk_create(queues)
    Subscription.objects.bulk_create(
        Subscription(endpoint=endpoint, pattern=pattern)
        for endpoint, values in zip(endpoints, scene.endpoints, strict=True)
        for pattern in values["patterns"]
    )
    data = json.dumps(DATA)
    common = {"tenant": tenant, "tenant_uid": tenant.uid, "data": data, "size": len(data), "occurred_at": MOMENT}
    events = [Event(**common, created_at=MOMENT, **values, **event_values) for values in scene.events]
    Event.objects.bulk_create(events)
    return tenant, endpoints, sorted(events, key=lambda event: event.id)


@dataclass(frozen=True)
class Wish:
    """An endpoint as `wants` sees it."""

    patterns: Sequence[str]
    channels: Sequence[str]
    created_at: datetime


def wanted(scene: Scene, endpoints: Sequence[Endpoint], event: Event, *, filters: bool = True) -> set[uuid.UUID]:
    """The endpoints that want the event, whatever their status."""
    return {
        endpoint.pk
        for endpoint, values in zip(endpoints, scene.endpoints, strict=True)
        if wants(
            Wish(values["patterns"], values["channels"], values["created_at"]),
            event,
            (lambda rules=values["filters"]: passes(rules, DATA)) if filters else None,  # type: ignore[misc]
        )
    }


def receiving(endpoints: Sequence[Endpoint]) -> set[uuid.UUID]:
    rows = (
        Endpoint.objects.accepting_events()
        .exclude(kind="callback")
        .filter(pk__in=[endpoint.pk for endpoint in endpoints])
    )
    return set(rows.values_list("pk", flat=True))


def delivered(event: Event) -> set[uuid.UUID]:
    return set(Delivery.objects.filter(event_id=event.pk).values_list("endpoint_id", flat=True))


def _in_python(events: Sequence[Event]) -> dict[uuid.UUID, set[uuid.UUID]]:
    found: dict[uuid.UUID, set[uuid.UUID]] = {event.pk: set() for event in events}
    left = list(events)
    while left:  # a slow machine may end a batch before its last event, or within its first
        matches = match(left, "default", subscriptions=1000, deliveries=1000)
        for event, targets in matches.events:
            found[event.pk] |= {target.endpoint_id for target in targets}
        if matches.position is None:
            left = left[len(matches.events) :]
        else:
            left[0].fan_out_position = matches.position
    return found


@many
@example(Scene([OPEN, {**OPEN, "filters": FILTERS[1]}], [PLAIN]))
@given(scenes(SOME_FILTERS))
def test_fan_out_in_python_agrees(scene: Scene) -> None:
    _, endpoints, events = stored(scene)
    assert _in_python(events) == {event.pk: wanted(scene, endpoints, event) & receiving(endpoints) for event in events}


def _in_sql(tenant: Tenant, events: Sequence[Event]) -> SqlFanOut:
    return fan_out_in_sql(
        database_now("default"),
        "default",
        shares={tenant.pk: len(events)},
        held=(),
        floor=uuid.UUID(int=0),
        deliveries=1000,
        ages={},
        default_age=timedelta(days=5),
    )


@pytest.mark.postgres
@many
@example(Scene([OPEN, {**OPEN, "created_at": MOMENT + timedelta(microseconds=1)}], [PLAIN]))
@given(scenes(NO_FILTERS))
def test_fan_out_in_sql_agrees(scene: Scene) -> None:
    tenant, endpoints, events = stored(scene)
    done = _in_sql(tenant, events)
    plain = [event for event in events if not event.callback_url]
    assert done.events == len(plain)
    assert done.tenants_left == ([] if len(plain) == len(events) else [tenant.pk])
    for event in events:
        expected = wanted(scene, endpoints, event) & receiving(endpoints) if event in plain else set()
        assert delivered(event) == expected


@pytest.mark.postgres
@many
@example(Scene([OPEN, {**OPEN, "filters": FILTERS[0]}], [PLAIN]))
@given(scenes(SOME_FILTERS))
def test_fan_out_in_sql_leaves_the_events_that_an_endpoint_with_filters_may_want(scene: Scene) -> None:
    tenant, endpoints, events = stored(scene)
    filtered = {endpoint.pk for endpoint in endpoints if endpoint.filters}
    done = _in_sql(tenant, events)
    left = 0
    for event in events:
        may_want = wanted(scene, endpoints, event, filters=False) & receiving(endpoints)
        is_left = bool(event.callback_url or may_want & filtered)
        left += is_left
        assert delivered(event) == (set() if is_left else may_want)
    assert (done.events, done.tenants_left) == (len(events) - left, [tenant.pk] if left else [])


@few
@example(Scene([OPEN, {**OPEN, "status": EndpointStatus.DISABLED}], [PLAIN]))
@given(scenes(SOME_FILTERS))
def test_recovery_agrees_whatever_the_status(scene: Scene) -> None:
    now = database_now("default") - timedelta(hours=2)
    recent = Scene(
        [{**values, "created_at": values["created_at"] - MOMENT + now} for values in scene.endpoints], scene.events
    )
    _, endpoints, events = stored(recent, fanned_out_at=now)
    Event.objects.filter(pk__in=[event.pk for event in events]).update(created_at=now)
    events = [Event.objects.get(pk=event.pk) for event in events]
    for endpoint in endpoints:
        if not endpoint.is_callback and endpoint.status != EndpointStatus.DELETED:
            recover(endpoint, now - timedelta(days=1))
            made = set(Delivery.objects.filter(endpoint=endpoint).values_list("event_id", flat=True))
            assert made == {
                event.pk
                for event in events
                if not event.callback_url and endpoint.pk in wanted(recent, endpoints, event)
            }
