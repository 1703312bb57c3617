"""What is bounded: requests in flight and a second, time, what is kept of an answer. And the order of FIFO queues."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from tests.customer import Customer, attempts, deliver, make_due, statuses, the_delivery
from tests.receiver_behaviours import Answer, Behaviour, Delay, Drip, Hang
from webhooks_app import contrib
from webhooks_app.core.retry import RetryPolicy
from webhooks_app.models import Attempt, Delivery, EndpointQueue
from webhooks_app.wire_formats import standard

pytestmark = pytest.mark.django_db(transaction=True)

#: A second for everything; gives up at the second request.
HURRIED = replace(
    standard.WIRE_FORMAT,
    name="hurried",
    total_timeout=1.0,
    connect_timeout=1.0,
    retry=RetryPolicy(delays=(timedelta(seconds=5),), breaker=False),
)


@pytest.fixture
def customer(settings) -> Iterator[Customer]:
    settings.WEBHOOKS = {
        **settings.WEBHOOKS,
        "WIRE_FORMATS": {**contrib.WIRE_FORMATS, "hurried": f"{__name__}.HURRIED"},
    }
    with Customer() as customer:
        yield customer


@dataclass
class Counting(Behaviour):
    """Answers after a while, and knows how many requests it was busy with at most."""

    seconds: float = 0.05
    busy: int = field(default=0, init=False)
    most: int = field(default=0, init=False)

    async def play(self, writer: asyncio.StreamWriter) -> bool:
        self.busy += 1
        self.most = max(self.most, self.busy)
        await asyncio.sleep(self.seconds)
        self.busy -= 1
        return await Answer().play(writer)


def begun() -> list[float]:
    """When each request was begun: a machine that stalls lets them arrive in a bunch, whatever the sender did."""
    return [at.timestamp() for at in Attempt.objects.order_by("started_at").values_list("started_at", flat=True)]


def most_in_a_second(times: list[float]) -> int:
    return max(sum(start <= moment < start + 1 for moment in times) for start in times)


# --- how many, how fast -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "most"), [({}, 8), ({"max_in_flight": 3}, 3), ({"max_in_flight": 1}, 1)])
def test_an_endpoint_never_gets_more_requests_at_once_than_its_cap(customer, options, most):
    customer.endpoint(**options)
    counting = Counting()
    customer.receiver.on("/hook", counting)
    customer.emit_several(40)
    deliver()
    assert statuses() == {"succeeded"}
    assert counting.most == most, "no more, and the cap is used"


def test_a_queue_begins_with_one_request_in_flight(customer):
    customer.endpoint()
    counting = Counting(0.2)
    customer.receiver.on("/hook", counting)
    customer.emit_several(2)
    deliver()
    assert counting.most == 1


def test_a_rate_limit_holds_within_one_drain(customer):
    customer.endpoint(rate_limit=20)
    customer.emit_several(40)
    deliver()
    times = begun()
    assert len(times) == 40
    assert most_in_a_second(times) <= 26
    assert times[-1] - times[0] < 10, "and it is used"


def test_a_rate_limit_holds_for_events_that_trickle_in(customer):
    """Each finds the queue free and at rest: the limit must not begin anew with every lease."""
    customer.endpoint(rate_limit=2)
    for number in range(4):
        customer.emit({"n": number})
        deliver()
    while Delivery.objects.pending().exists():
        deliver()
    times = begun()
    assert len(times) == 4
    assert times[-1] - times[0] > 1, "four at two a second"
    assert most_in_a_second(times) <= 3


# --- order ------------------------------------------------------------------------------------------------------------


def test_a_fifo_endpoint_gets_its_events_in_order_and_one_at_a_time(customer):
    customer.endpoint(fifo=True)
    counting = Counting(0.005)
    customer.receiver.on("/hook", counting)
    customer.emit_several(60)
    deliver()
    assert customer.numbers == list(range(60))
    assert counting.most == 1


def test_a_fifo_head_that_fails_holds_everything_behind_it_back(customer):
    customer.endpoint(fifo=True)
    customer.receiver.on("/hook", [200, 500, 400, 503, 200])
    customer.emit_several(5)
    deliver()
    assert customer.numbers == [0, 1]
    customer.emit({"n": 5})
    deliver()
    assert customer.numbers == [0, 1], "new ones go behind it"
    head = Delivery.objects.pending().order_by("sequence")[0]
    assert EndpointQueue.objects.get().due_at == head.next_attempt_at, "due with its head, not with what follows"
    for _ in range(3):
        make_due()
        deliver()
    assert customer.numbers == [0, 1, 1, 1, 1, 2, 3, 4, 5]
    assert statuses() == {"succeeded"}


def test_a_fifo_head_that_is_given_up_lets_the_others_through(customer):
    customer.endpoint(fifo=True, wire_format="hurried")
    customer.receiver.on("/hook", lambda request: 500 if json.loads(request.body)["data"]["n"] == 1 else 200)
    customer.emit_several(4)
    deliver()
    make_due()
    deliver()
    assert customer.numbers == [0, 1, 1, 2, 3]
    assert Delivery.objects.get(sequence=2).status == "exhausted"


def test_a_fifo_endpoint_behind_an_open_breaker_keeps_its_order(customer):
    customer.endpoint(fifo=True)
    customer.receiver.on("/hook", [*[500] * 6, 200])
    customer.emit_several(3)
    for _ in range(7):
        deliver()
        make_due()
    deliver()
    assert customer.numbers == [*[0] * 7, 1, 2]


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("behaviour", [Hang(), Drip("headers")], ids=["silent", "slow headers"])
def test_the_total_deadline_ends_a_request_whatever_the_receiver_does(customer, behaviour):
    customer.endpoint(wire_format="hurried")
    customer.receiver.on("/hook", behaviour)
    customer.emit()
    deliver()
    delivery, [attempt] = the_delivery(), attempts()
    assert (delivery.status, delivery.last_outcome, delivery.last_status) == ("pending", "timeout", None)
    assert 900 <= attempt.duration_ms < 5000


def test_a_slow_body_is_no_failure_once_the_headers_are_there(customer):
    customer.endpoint(wire_format="hurried")
    customer.receiver.on("/hook", Drip("body"))
    customer.emit()
    deliver()
    delivery, [attempt] = the_delivery(), attempts()
    assert (delivery.status, delivery.last_outcome, delivery.last_status) == ("succeeded", "succeeded", 200)
    assert attempt.duration_ms < 5000


def test_a_hanging_endpoint_does_not_slow_another_one_down(customer):
    customer.endpoint("/hangs", wire_format="hurried")
    customer.endpoint("/works")
    customer.receiver.on("/hangs", Hang())
    customer.emit_several(50)
    deliver()
    times = [request.time for request in customer.received if request.path == "/works"]
    assert len(times) == 50
    [hanging] = Attempt.objects.filter(outcome="timeout")
    finished = Delivery.objects.filter(status="succeeded").order_by("completed_at").last()
    assert finished.completed_at < hanging.started_at + timedelta(milliseconds=hanging.duration_ms)


# --- what is sent and kept --------------------------------------------------------------------------------------------


def test_the_customers_own_headers_are_sent_with_every_attempt(customer):
    customer.endpoint(headers={"Authorization": "Bearer abc", "X-Team": "blue"})
    customer.receiver.on("/hook", [500, 200])
    customer.emit()
    deliver()
    make_due()
    deliver()
    for request in customer.received:
        assert request.method == "POST"
        assert (request.headers["authorization"], request.headers["x-team"]) == ("Bearer abc", "blue")
        assert request.headers["content-type"] == "application/json"
        assert request.headers["user-agent"].startswith("webhooks-app/")
        names = [name.lower() for name, _ in request.header_lines]
        assert len(names) == len(set(names)), "each header once"


def test_an_answer_is_kept_with_its_headers(customer):
    customer.endpoint()
    customer.receiver.on("/hook", status=202, headers={"X-Trace": "t-1"}, body=b"thank you\x00\xff")
    customer.emit()
    deliver()
    [attempt] = attempts()
    assert bytes(attempt.response_body) == b"thank you\x00\xff"
    assert "x-trace: t-1" in attempt.response_headers.lower()
    assert (attempt.status, attempt.outcome, attempt.number) == (202, "succeeded", 1)
    assert (attempt.url, attempt.address, attempt.http_version) == (customer.receiver.url("/hook"), "127.0.0.1", "1.1")
    assert attempt.response_truncated is False


def test_of_a_long_answer_the_beginning_is_kept_and_the_status_counts(customer):
    customer.endpoint()
    customer.receiver.on("/hook", status=200, headers={"X-Long": "h" * 9000}, body=b"b" * 100_000)
    customer.emit()
    deliver()
    [attempt] = attempts()
    assert (the_delivery().status, attempt.status) == ("succeeded", 200)
    assert bytes(attempt.response_body) == b"b" * 16 * 1024
    assert attempt.response_truncated is True
    assert len(attempt.response_headers) <= 8 * 1024


def test_a_connection_is_kept_for_the_next_request(customer):
    customer.endpoint()
    customer.receiver.on("/hook", Delay(0.001))
    customer.emit_several(30)
    deliver()
    connections: set[int] = {request.connection for request in customer.received}
    assert len(connections) <= 8


def test_nothing_in_an_event_can_reach_the_headers(customer):
    customer.endpoint()
    customer.emit({"n": "\r\nX-Evil: 1"})
    deliver()
    [request] = customer.received
    assert "x-evil" not in request.headers
