"""What happens after an answer: success, the schedule of retries, Retry-After, giving up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from email.utils import format_datetime

import pytest
from django.utils import timezone

from tests.customer import Customer, attempts, deliver, make_due, statuses, the_delivery
from tests.receiver_behaviours import Close, Reset
from webhooks_app.core.retry import STANDARD_DELAYS
from webhooks_app.models import Delivery, EndpointQueue, EndpointStatus, HourlyStat, Notification
from webhooks_app.wire_formats import standard

pytestmark = pytest.mark.django_db(transaction=True)

SECOND = timedelta(seconds=1)


@pytest.fixture
def customer() -> Iterator[Customer]:
    with Customer() as customer:
        yield customer


def wait_of(delivery: Delivery) -> timedelta:
    """From the end of the last request to the next one."""
    last = attempts(delivery)[-1]
    return delivery.next_attempt_at - last.started_at - timedelta(milliseconds=last.duration_ms)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_success_and_is_sent_once(customer, status):
    customer.endpoint()
    customer.receiver.on("/hook", status)
    customer.emit()
    deliver()
    delivery = the_delivery()
    assert (delivery.status, delivery.attempts, delivery.last_status) == ("succeeded", 1, status)
    assert delivery.completed_at is not None
    assert len(customer.received) == 1


def test_the_standard_schedule_is_kept_within_its_jitter(customer):
    customer.endpoint()
    customer.receiver.on("/hook", 500)
    event = customer.emit()
    deliver()
    for number, delay in enumerate(STANDARD_DELAYS, start=1):
        delivery = the_delivery()
        assert (delivery.status, delivery.attempts, delivery.retry_step) == ("pending", number, number)
        assert (delivery.last_outcome, delivery.last_status) == ("server_error", 500)
        assert 0.8 * delay - SECOND <= wait_of(delivery) <= 1.2 * delay + SECOND
        make_due()
        deliver()
    delivery = the_delivery()
    assert (delivery.status, delivery.attempts) == ("exhausted", len(STANDARD_DELAYS) + 1)
    make_due()
    deliver()
    assert len(customer.received) == len(attempts()) == 10
    assert {request.headers["webhook-id"] for request in customer.received} == {event.public_id}
    assert len({request.body for request in customer.received}) == 1, "byte-identical in every attempt"
    assert [row.number for row in attempts()] == list(range(1, 11))
    assert HourlyStat.objects.get().exhausted == 1


def test_a_retry_that_is_not_due_is_not_sent(customer):
    customer.endpoint()
    customer.receiver.on("/hook", [500, 200])
    customer.emit()
    deliver()
    deliver()
    assert len(customer.received) == 1
    delivery = the_delivery()
    assert EndpointQueue.objects.get().due_at == delivery.next_attempt_at
    make_due()
    deliver()
    assert the_delivery().status == "succeeded"
    assert len(customer.received) == 2


def test_the_signature_is_of_the_attempts_own_time(customer):
    customer.endpoint()
    customer.receiver.on("/hook", [500, 200])
    customer.emit()
    deliver()
    make_due()
    deliver()
    for request, attempt in zip(customer.received, attempts(), strict=True):
        assert int(request.headers["webhook-timestamp"]) == int(attempt.started_at.timestamp())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_a_failure_and_is_not_followed(customer, status):
    customer.endpoint()
    customer.receiver.on("/hook", status=status, headers={"Location": customer.receiver.url("/other")})
    customer.emit()
    deliver()
    delivery = the_delivery()
    assert (delivery.status, delivery.last_outcome, delivery.last_status) == ("pending", "redirect", status)
    assert [request.path for request in customer.received] == ["/hook"]


@pytest.mark.parametrize("reaction", [Close(), Reset()], ids=["closed", "reset"])
def test_a_connection_that_ends_without_an_answer_is_retried(customer, reaction):
    customer.endpoint()
    customer.receiver.on("/hook", [reaction, 200])
    customer.emit()
    deliver()
    delivery = the_delivery()
    assert (delivery.status, delivery.last_outcome, delivery.last_status) == ("pending", "protocol_error", None)
    make_due()
    deliver()
    assert the_delivery().status == "succeeded"
    assert len(customer.received) == 2, "no library may retry behind our back"


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_in_seconds_is_honoured(customer, status):
    customer.endpoint()
    customer.receiver.on("/hook", status=status, headers={"Retry-After": "600"})
    customer.emit()
    deliver()
    assert abs(wait_of(the_delivery()) - timedelta(seconds=600)) < SECOND
    assert EndpointQueue.objects.get().not_before > timezone.now() + timedelta(seconds=590), "the queue waits too"


def test_retry_after_as_a_date_is_honoured(customer):
    customer.endpoint()
    moment = (timezone.now() + timedelta(hours=2)).replace(microsecond=0)
    customer.receiver.on("/hook", status=503, headers={"Retry-After": format_datetime(moment, usegmt=True)})
    customer.emit()
    deliver()
    assert abs(the_delivery().next_attempt_at - moment) < SECOND


def test_retry_after_is_capped_at_a_day(customer):
    customer.endpoint()
    customer.receiver.on("/hook", status=503, headers={"Retry-After": "99999999"})
    customer.emit()
    deliver()
    assert abs(wait_of(the_delivery()) - timedelta(hours=24)) < SECOND


@pytest.mark.parametrize("value", ["-5", "soon", "1.5", "", "Wed, 99 Foo 2026"])
def test_a_retry_after_that_makes_no_sense_is_ignored(customer, value):
    customer.endpoint()
    customer.receiver.on("/hook", status=503, headers={"Retry-After": value})
    customer.emit()
    deliver()
    assert wait_of(the_delivery()) < timedelta(seconds=8)


def test_retry_after_on_other_answers_is_not_asked_for(customer):
    customer.endpoint()
    customer.receiver.on("/hook", status=500, headers={"Retry-After": "3600"})
    customer.emit()
    deliver()
    assert wait_of(the_delivery()) < timedelta(seconds=8)


def test_a_shorter_retry_after_does_not_shorten_the_schedule(customer):
    customer.endpoint()
    customer.receiver.on("/hook", status=429, headers={"Retry-After": "0"})
    customer.emit()
    deliver()
    assert wait_of(the_delivery()) >= timedelta(seconds=4) - SECOND


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_an_overloaded_receiver_holds_the_whole_queue_back(customer, status):
    customer.endpoint()
    customer.receiver.on("/hook", status)
    customer.emit_several(5)
    deliver()
    assert len(customer.received) == 1, "the others wait with it"
    assert set(Delivery.objects.values_list("attempts", flat=True)) == {0, 1}
    assert EndpointQueue.objects.get().not_before > timezone.now()
    customer.receiver.on("/hook", 200)
    make_due()
    deliver()
    assert statuses() == {"succeeded"}


@pytest.mark.parametrize("status", [400, 500])
def test_an_answer_about_one_event_does_not_hold_back_the_others(customer, status):
    customer.endpoint()
    customer.receiver.on("/hook", lambda request: status if b'"n":2' in request.body else 200)
    customer.emit_several(5)
    deliver()
    assert sorted(customer.numbers) == [0, 1, 2, 3, 4]
    assert Delivery.objects.filter(status="succeeded").count() == 4


def test_410_gone_disables_at_once_and_keeps_what_is_pending(customer):
    endpoint = customer.endpoint()
    other = customer.endpoint("/other")
    customer.receiver.on("/hook", 410)
    customer.emit_several(4)
    deliver()
    endpoint.refresh_from_db()
    assert (endpoint.status, endpoint.status_reason) == (EndpointStatus.DISABLED, "gone")
    mine = Delivery.objects.filter(endpoint=endpoint)
    assert sorted(mine.values_list("status", flat=True)) == ["exhausted", "pending", "pending", "pending"]
    assert Notification.objects.filter(kind="disabled", endpoint_id=endpoint.pk).count() == 1
    assert set(Delivery.objects.filter(endpoint=other).values_list("status", flat=True)) == {"succeeded"}
    customer.emit()
    make_due()
    deliver()
    assert mine.count() == 4, "new events make no deliveries"
    assert sum(request.path == "/hook" for request in customer.received) == 1


def test_a_refused_connection_is_retried_and_slows_the_queue(customer):
    endpoint = customer.endpoint()
    endpoint.url = "http://127.0.0.1:9/hook"  # nobody listens on the discard port
    endpoint.save()
    customer.emit_several(3)
    deliver()
    assert [row.outcome for row in attempts()] == ["refused"]
    assert EndpointQueue.objects.get().not_before > timezone.now()
    endpoint.url = customer.receiver.url("/hook")
    endpoint.save()
    make_due()
    deliver()
    assert statuses() == {"succeeded"}


def test_one_endpoints_failures_are_nothing_to_another(customer):
    customer.endpoint("/bad")
    customer.endpoint("/good")
    customer.receiver.on("/bad", 500)
    customer.emit_several(3)
    deliver()
    assert Delivery.objects.filter(endpoint__url__endswith="/good", status="succeeded").count() == 3
    assert Delivery.objects.filter(endpoint__url__endswith="/bad", status="pending").count() == 3


def test_the_wire_format_says_what_the_tests_above_rely_on():
    assert (standard.WIRE_FORMAT.retry.jitter, standard.WIRE_FORMAT.retry.max_attempts) == (0.2, 10)
