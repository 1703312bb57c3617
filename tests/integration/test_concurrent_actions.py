"""Two users, or a user and an engine, at the same moment: real connections, real locks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections

from tests.factories import DeliveryFactory, EndpointFactory, TenantFactory
from webhooks_app.db import write
from webhooks_app.deliveries.resend import cancel_delivery, resend
from webhooks_app.endpoints.numeric_ids import number_endpoints
from webhooks_app.endpoints.secrets import rotate_secret
from webhooks_app.endpoints.service import change_endpoint, create_endpoint
from webhooks_app.endpoints.status import pause_endpoint, resume_endpoint
from webhooks_app.exceptions import ConflictingState, TooManyEndpoints
from webhooks_app.models import Delivery, DeliveryStatus, Endpoint, EndpointQueue, Secret
from webhooks_app.playground.service import open_playground

pytestmark = pytest.mark.django_db(transaction=True)


def start(act: Callable[[], Any], results: list[Any]) -> threading.Thread:
    def run() -> None:
        try:
            results.append(act())
        except Exception as error:  # noqa: BLE001 - it is looked at in the test's own thread
            results.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def at_once(*actions: Callable[[], Any]) -> list[Any]:
    """Run the actions in threads that begin together; what each returned or raised."""
    results: list[Any] = []
    gate = threading.Barrier(len(actions))

    def gated(act: Callable[[], Any]) -> Callable[[], Any]:
        return lambda: (gate.wait(10), act())[1]

    for thread in [start(gated(action), results) for action in actions]:
        thread.join(30)
    return results


def test_two_who_want_the_last_place_get_it_once():
    tenant = TenantFactory(max_endpoints=1)
    results = at_once(*[lambda: create_endpoint(tenant, url="https://example.com/", events=["*"])] * 3)
    assert Endpoint.objects.count() == 1
    assert sum(isinstance(result, TooManyEndpoints) for result in results) == 2


def test_a_playground_that_several_open_is_one():
    tenant = TenantFactory()
    results = at_once(*[lambda: open_playground(tenant)] * 3)
    assert {endpoint for endpoint, _ in results} == {Endpoint.objects.get()}
    assert [secret is None for _, secret in results].count(False) == 1


def test_numbers_given_at_once_are_the_same_for_all():
    rows = EndpointFactory.create_batch(5)
    results = at_once(*[lambda: number_endpoints(rows)] * 3)
    assert results[0] == results[1] == results[2] == number_endpoints(rows)
    numbers = [results[0][row.pk] for row in rows]
    assert numbers == sorted(set(numbers)), "the oldest endpoint has the lowest"


def test_rotations_at_once_leave_one_current_secret():
    endpoint = EndpointFactory()
    results = at_once(*[lambda: rotate_secret(endpoint)] * 3)
    assert len({result.text for result in results}) == 3
    assert Secret.objects.filter(expires_at__isnull=True).count() == 1
    assert Secret.objects.live().count() == 4


def test_replays_at_once_get_places_of_their_own_in_a_fifo_order():
    endpoint = EndpointFactory(fifo=True)
    rows = DeliveryFactory.create_batch(4, endpoint=endpoint, exhausted=True)
    at_once(*[lambda row=row: resend(row) for row in rows])
    assert sorted(Delivery.objects.values_list("sequence", flat=True)) == [1, 2, 3, 4]
    assert EndpointQueue.objects.get().sequence == 4


def test_a_delivery_is_cancelled_by_one_of_two():
    delivery = DeliveryFactory()
    results = at_once(*[lambda: cancel_delivery(delivery)] * 2)
    assert sum(isinstance(result, ConflictingState) for result in results) == 1


def test_a_delivery_that_is_given_up_while_it_is_replayed_is_sent_again():
    """The replay saw it pending; the engine gave it up in that moment. It must not end as given up."""
    delivery = DeliveryFactory(retry_step=9, attempts=9)
    results: list[Any] = []
    with write("default"):
        Delivery.objects.filter(pk=delivery.pk).update(status=DeliveryStatus.EXHAUSTED, attempts=10)
        thread = start(lambda: resend(delivery), results)
        time.sleep(0.2)
    thread.join(30)
    row = Delivery.objects.get()
    assert (row.status, row.retry_step, row.attempts) == (DeliveryStatus.PENDING, 0, 10)


def test_actions_on_the_same_endpoint_do_not_deadlock():
    endpoint = EndpointFactory()
    DeliveryFactory.create_batch(5, endpoint=endpoint)

    def on_and_off() -> None:
        for _ in range(5):
            pause_endpoint(endpoint)
            resume_endpoint(endpoint)

    def fifo_and_back() -> None:
        for turn in range(10):
            change_endpoint(endpoint, fifo=turn % 2 == 0)

    def rotate() -> None:
        for _ in range(5):
            rotate_secret(endpoint)

    assert at_once(on_and_off, fifo_and_back, rotate) == [None, None, None]
