"""Endpoints that fail for longer: the breaker, the maximum age behind it, switching off, recovering."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from tests.customer import Customer, age, attempts, deliver, make_due, statuses, the_delivery
from tests.receiver_behaviours import Answer, Delay
from webhooks_app import contrib
from webhooks_app.core.retry import GONE, RETRY_AFTER, RetryPolicy
from webhooks_app.endpoints.status import enable_endpoint
from webhooks_app.models import Attempt, Delivery, Endpoint, EndpointQueue, EndpointStatus, Notification
from webhooks_app.wire_formats import standard

pytestmark = pytest.mark.django_db(transaction=True)

THRESHOLD = standard.WIRE_FORMAT.retry.breaker_threshold
#: Fails for good at the second request.
HASTY = replace(
    standard.WIRE_FORMAT,
    name="hasty",
    retry=RetryPolicy(
        delays=(timedelta(seconds=5),), breaker=False, rules=(RETRY_AFTER, GONE), disable_after_failures=None
    ),
)


@pytest.fixture
def customer(settings) -> Iterator[Customer]:
    settings.WEBHOOKS = {**settings.WEBHOOKS, "WIRE_FORMATS": {**contrib.WIRE_FORMATS, "hasty": f"{__name__}.HASTY"}}
    with Customer() as customer:
        yield customer


def break_(customer: Customer) -> None:
    """Let as many requests fail as open the breaker, of twice as many events."""
    customer.receiver.on("/hook", 500)
    customer.emit_several(2 * THRESHOLD)
    deliver()
    assert len(customer.received) == THRESHOLD
    assert EndpointQueue.objects.get().consecutive_failures == THRESHOLD


# --- the breaker ------------------------------------------------------------------------------------------------------


def test_after_some_failures_in_a_row_the_rest_waits_without_using_up_attempts(customer):
    customer.endpoint()
    break_(customer)
    assert Delivery.objects.filter(attempts=0, status="pending").count() == THRESHOLD
    assert EndpointQueue.objects.get().not_before > timezone.now()
    customer.receiver.clear()
    deliver()
    assert customer.received == []


def test_an_open_breaker_sends_one_probe_a_step_and_waits_longer_each_time(customer):
    customer.endpoint()
    break_(customer)
    waits = [EndpointQueue.objects.get().not_before - timezone.now()]
    for number in range(1, 4):
        make_due()
        deliver()
        assert len(customer.received) == THRESHOLD + number
        waits.append(EndpointQueue.objects.get().not_before - timezone.now())
    assert waits == sorted(waits)
    assert timedelta(seconds=30) < waits[-1] < timedelta(minutes=5)


def test_a_probe_that_succeeds_lets_everything_through_again(customer):
    customer.endpoint()
    break_(customer)
    customer.receiver.on("/hook", 200)
    make_due()
    deliver()
    assert statuses() == {"succeeded"}
    queue = EndpointQueue.objects.get()
    assert (queue.consecutive_failures, queue.failing_since) == (0, None)
    assert queue.last_success_at is not None


def test_what_waited_too_long_behind_the_breaker_is_given_up_without_a_request(customer):
    customer.endpoint()
    break_(customer)
    waiting = Delivery.objects.filter(attempts=0)
    waiting.update(expires_at=timezone.now() - timedelta(seconds=1))
    make_due()
    deliver()
    assert set(Delivery.objects.filter(attempts=0).values_list("status", "last_outcome")) == {("exhausted", "expired")}
    assert len(customer.received) == Attempt.objects.count() == THRESHOLD + 1, "only the probe"
    assert Notification.objects.get(kind="exhausted").count == THRESHOLD


def test_what_is_old_is_sent_all_the_same_where_no_breaker_is_open(customer):
    customer.endpoint()
    customer.emit()
    customer.receiver.on("/hook", [500, 200])
    deliver()
    Delivery.objects.update(expires_at=timezone.now() - timedelta(days=1))
    make_due()
    deliver()
    assert the_delivery().status == "succeeded"


# --- giving up --------------------------------------------------------------------------------------------------------


def test_the_last_attempt_exhausts_the_delivery_and_leaves_a_notice(customer):
    customer.endpoint(wire_format="hasty")
    customer.receiver.on("/hook", 500)
    customer.emit()
    deliver()
    assert the_delivery().status == "pending"
    make_due()
    deliver()
    delivery = the_delivery()
    assert (delivery.status, delivery.attempts, delivery.last_status) == ("exhausted", 2, 500)
    assert delivery.completed_at is not None
    notification = Notification.objects.get()
    assert (notification.kind, notification.count, notification.delivery_id) == ("exhausted", 1, delivery.pk)


# --- switching off ----------------------------------------------------------------------------------------------------


def test_ten_failures_in_a_row_switch_an_endpoint_off_where_the_wire_format_says_so(customer):
    endpoint = customer.endpoint(wire_format="muchaw")
    customer.receiver.on("/hook", 500)
    customer.emit_several(15)
    deliver()
    endpoint.refresh_from_db()
    assert (endpoint.status, endpoint.status_reason) == (EndpointStatus.DISABLED, "failures")
    assert len(customer.received) == 10
    assert statuses() == {"pending"}
    make_due()
    deliver()
    assert len(customer.received) == 10


def test_a_success_in_between_starts_the_count_anew(customer):
    endpoint = customer.endpoint(wire_format="muchaw")
    customer.receiver.on("/hook", [*[500] * 9, 200, *[500] * 9, 200])
    customer.emit_several(20)
    deliver()
    assert len(customer.received) == 20
    assert Endpoint.objects.get(pk=endpoint.pk).status == EndpointStatus.ACTIVE


def test_failures_that_overlapped_count_once(customer):
    """Or a short outage under load would switch an endpoint off."""
    endpoint = customer.endpoint(wire_format="muchaw", max_in_flight=4)  # so the last few begin after every success
    customer.receiver.on("/hook", [*[200] * 10, *[Delay(0.5, Answer(500))] * 8])
    customer.emit_several(18)
    deliver()
    assert Attempt.objects.filter(status=500).count() == 8
    assert 1 <= EndpointQueue.objects.get().consecutive_failures < 8
    assert Endpoint.objects.get(pk=endpoint.pk).status == EndpointStatus.ACTIVE


def test_days_without_a_success_switch_an_endpoint_off(customer):
    endpoint = customer.endpoint()
    customer.receiver.on("/hook", 500)
    customer.emit()
    deliver()
    age(endpoint, days=4, hours=23)
    make_due()
    deliver()
    assert Endpoint.objects.get(pk=endpoint.pk).status == EndpointStatus.ACTIVE
    age(endpoint, hours=2)
    make_due()
    deliver()
    endpoint.refresh_from_db()
    assert (endpoint.status, endpoint.status_reason) == (EndpointStatus.DISABLED, "days")
    assert the_delivery().status == "pending", "what waits is kept"


def test_an_endpoint_that_is_enabled_again_sends_what_was_kept_and_has_a_clean_record(customer):
    endpoint = customer.endpoint(wire_format="muchaw")
    customer.receiver.on("/hook", 500)
    customer.emit_several(12)
    deliver()
    assert Endpoint.objects.get(pk=endpoint.pk).status == EndpointStatus.DISABLED
    customer.receiver.on("/hook", [500, 200])
    enable_endpoint(endpoint)
    make_due()
    deliver()
    make_due()
    deliver()
    assert statuses() == {"succeeded"}
    assert EndpointQueue.objects.get().consecutive_failures == 0


# --- recovering -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hours", "told"), [(0.9, 0), (1.1, 1)])
def test_an_endpoint_that_failed_for_an_hour_and_answers_again_has_recovered(customer, hours, told):
    endpoint = customer.endpoint()
    customer.receiver.on("/hook", [500, 200])
    customer.emit()
    deliver()
    age(endpoint, hours=hours)
    make_due()
    deliver()
    assert Notification.objects.filter(kind="recovered").count() == told
    customer.emit()
    deliver()
    assert Notification.objects.filter(kind="recovered").count() == told, "once"
    assert len(attempts()) == 3
