"""The protocol, numbering: deliveries of an endpoint that has just become FIFO get their places in portions, none overtaken."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.factories import DeliveryFactory, EndpointFactory
from tests.locks import locked
from tests.pipelines import (
    at_once,
    due_at,
    eventually,
    fan_out_batch,
    held_endpoint,
    pending_event,
    release,
)
from tests.refused_rows import refused
from webhooks_app.endpoints.service import change_endpoint
from webhooks_app.engine.fan_out import FanOut
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.owed_wakes import OwedWakes
from webhooks_app.engine.sql import store_for
from webhooks_app.engine.sql.types import Wanted
from webhooks_app.engine.sweep import repair
from webhooks_app.models import NOTHING_DUE, Delivery, Endpoint, EndpointQueue, database_now
from webhooks_app.models.ids import new_id

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]


def without_places(endpoint: Endpoint, number: int) -> list[Delivery]:
    """Pending deliveries as a fan-out leaves them that did not know of the order; the latest event's was written first."""
    rows = [
        Delivery(
            tenant_id=endpoint.tenant_id,
            endpoint_id=endpoint.pk,
            event_id=event_id,
            next_attempt_at=database_now("default"),
            expires_at=database_now("default") + timedelta(days=1),
        )
        for event_id in reversed([new_id() for _ in range(number)])
    ]
    return Delivery.objects.bulk_create(rows)


def places(endpoint: Endpoint) -> list[int]:
    """The sequence numbers, in the order of the events."""
    rows = Delivery.objects.filter(endpoint=endpoint).order_by("event_id")
    return list(rows.values_list("sequence", flat=True))


def owed(*endpoints: Endpoint) -> OwedWakes:
    owed = OwedWakes("default", EngineOptions(), FaultLog())
    owed.add([endpoint.pk for endpoint in endpoints], database_now("default"))
    return owed


def read(endpoint: Endpoint) -> list[int]:
    wanted = [Wanted(endpoint.pk, True, None, 100)]
    return [row.sequence for row in store_for("default").due(wanted, database_now("default"))]


class TestARefusedQueue:
    """A trigger of the host's refuses one queue. The others are woken all the same, at once."""

    @pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
    @pytest.mark.parametrize("fifo", [False, True], ids=["any order", "FIFO"])
    def test_does_not_keep_others_from_being_woken(self, first: bool, fifo: bool) -> None:
        refused_one = EndpointFactory(fifo=fifo)
        others = [EndpointFactory() for _ in range(3)]
        for endpoint in (refused_one, *others):
            DeliveryFactory(endpoint=endpoint)
        wakes = owed(*([refused_one, *others] if first else [*others, refused_one]))
        with refused("webhooks_app_endpointqueue", "endpoint_id", refused_one.pk, "UPDATE"):
            for _ in range(3):
                wakes.wake()
            assert all(due_at(endpoint) < NOTHING_DUE for endpoint in others)
            assert list(wakes.since) == [refused_one.pk]
        eventually(lambda: wakes.wake() and not wakes)
        assert due_at(refused_one) < NOTHING_DUE

    def test_does_not_keep_others_from_being_repaired(self) -> None:
        later = database_now("default") + timedelta(hours=1)
        endpoints = [EndpointFactory(queue__due_at=later) for _ in range(5)]
        for endpoint in endpoints:
            DeliveryFactory(endpoint=endpoint)
        with refused("webhooks_app_endpointqueue", "endpoint_id", endpoints[2].pk, "UPDATE"):
            assert repair() == 4
        assert repair() == 1


class TestOwedPlaces:
    def test_are_given_in_portions(self, monkeypatch: pytest.MonkeyPatch) -> None:
        at_once(monkeypatch, deliveries=2)
        endpoint = EndpointFactory(fifo=True, queue__sequence=3)
        without_places(endpoint, 5)
        wakes = owed(endpoint)
        seen = []
        while wakes:
            assert wakes.wake() == {endpoint.pk}
            seen.append(places(endpoint))
        assert seen == [[4, 5, 0, 0, 0], [4, 5, 6, 7, 0], [4, 5, 6, 7, 8]]
        assert EndpointQueue.objects.get().sequence == 8
        assert due_at(endpoint) < NOTHING_DUE

    def test_cost_as_many_statements_for_many_as_for_few(self, django_assert_num_queries: Any) -> None:
        few, many = (EndpointFactory(fifo=True) for _ in range(2))
        without_places(few, 2)
        without_places(many, 100)
        with django_assert_num_queries(1000, exact=False) as counted:
            owed(few).wake()
        with django_assert_num_queries(len(counted)):
            owed(many).wake()
        assert places(many) == [*range(1, 101)]

    def test_of_several_queues_are_given_in_turns(self, monkeypatch: pytest.MonkeyPatch) -> None:
        at_once(monkeypatch, deliveries=2)
        endpoints = EndpointFactory.create_batch(3, fifo=True)
        plain = EndpointFactory()
        for endpoint in endpoints:
            without_places(endpoint, 3)
        wakes = owed(*endpoints, plain)
        for _ in endpoints:
            wakes.wake()
        assert [places(endpoint) for endpoint in endpoints] == [[1, 2, 0]] * 3
        while wakes:
            wakes.wake()
        assert [places(endpoint) for endpoint in endpoints] == [[1, 2, 3]] * 3

    @pytest.mark.postgres
    def test_of_a_queue_with_a_locked_delivery_stop_no_other(self) -> None:
        endpoint, other, plain = EndpointFactory(fifo=True), EndpointFactory(fifo=True), EndpointFactory()
        rows = without_places(endpoint, 2)
        without_places(other, 2)
        wakes = owed(endpoint, other, plain)
        with locked(rows[0]):
            wakes.wake()
            assert due_at(plain) < NOTHING_DUE
            wakes.wake()
            assert [*wakes.since] == [endpoint.pk]
        assert (places(endpoint), places(other)) == ([0, 0], [1, 2])


class TestADeliveryWithoutAPlace:
    def test_is_not_read(self) -> None:
        endpoint = held_endpoint(fifo=True)
        DeliveryFactory.create_batch(2, endpoint=endpoint)
        assert read(endpoint) == []
        DeliveryFactory(endpoint=endpoint, sequence=7)
        assert read(endpoint) == [7]

    def test_is_no_reason_to_lease_the_queue(self) -> None:
        endpoint = held_endpoint(fifo=True)
        DeliveryFactory(endpoint=endpoint)
        release(endpoint)
        assert due_at(endpoint) == NOTHING_DUE
        assert repair() == 1

    def test_is_not_overtaken_by_a_later_event(self, monkeypatch: pytest.MonkeyPatch) -> None:
        at_once(monkeypatch, deliveries=2)
        endpoint = EndpointFactory(fifo=True)
        without_places(endpoint, 3)
        fan = FanOut("default", EngineOptions(), FaultLog())
        pending_event(endpoint.tenant)
        assert fan_out_batch(fan, database_now("default")).deliveries == 1
        assert places(endpoint) == [0, 0, 0, 0]
        while fan.owed_wakes:
            fan.owed_wakes.wake()
        pending_event(endpoint.tenant)
        fan_out_batch(fan, database_now("default"))
        assert places(endpoint) == [1, 2, 3, 4, 5]

    def test_is_found_by_a_repair(self, monkeypatch: pytest.MonkeyPatch) -> None:
        at_once(monkeypatch, deliveries=2)
        endpoint = EndpointFactory(fifo=True)
        without_places(endpoint, 5)
        assert repair() == 1
        assert places(endpoint) == [1, 2, 3, 4, 5]


def test_becoming_fifo_costs_one_statement_per_portion(fast_paths: bool, django_assert_num_queries: Any) -> None:
    few, many = EndpointFactory.create_batch(2)
    without_places(few, 2)
    without_places(many, 1100)
    with django_assert_num_queries(1000, exact=False) as counted:
        change_endpoint(few, fifo=True)
    with django_assert_num_queries(len(counted) + (0 if fast_paths else 2)):
        change_endpoint(many, fifo=True)
    assert places(many) == [*range(1, 1101)]
