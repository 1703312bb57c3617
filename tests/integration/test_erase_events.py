"""Erase events: no table keeps their data, nothing is sent without its payload, and the history still adds up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.api import Program
from tests.customer import TYPE, Customer, make_due
from tests.factories import EventFactory
from tests.kept import holding
from tests.pipelines import Gate, deliver_until, due_delivery, endpoint_at, eventually, running_engine
from tests.receiver import Receiver
from tests.receiver_behaviours import Answer
from webhooks_app import emit, erase_event
from webhooks_app.db import in_fresh_transaction
from webhooks_app.engine.create_deliveries import plan_deliveries, write_deliveries
from webhooks_app.engine.pending_events import read_these
from webhooks_app.maintenance.prune import prune
from webhooks_app.models import (
    Attempt,
    AuditEntry,
    Delivery,
    DeliveryStatus,
    Endpoint,
    EndpointQueue,
    Event,
    EventChannel,
    HourlyStat,
    database_now,
)
from webhooks_app.playground import arrivals, open_playground

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]

CANARY = "CANARY7f3a"
ECHO = Answer(200, {"X-Echo": CANARY}, f'{{"you":"{CANARY}"}}'.encode())

Deliver = Callable[..., Any]


@pytest.fixture
def customer() -> Iterator[Customer]:
    with Customer() as customer:
        yield customer


def emit_all_over(customer: Customer, **changes: Any) -> Event:
    """An event that has the canary wherever a host can put it."""
    values = {"subject": CANARY, "idempotency_key": CANARY, "channels": [CANARY], **changes}
    return customer.emit({"name": CANARY}, **values)


def erased(event: Event) -> Event:
    event.refresh_from_db()
    assert event.erased_at is not None
    assert holding(CANARY) == set()
    return event


class TestWhatIsErased:
    def test_the_payload_the_responses_and_what_it_is_searched_by(self, customer: Customer, deliver: Deliver) -> None:
        customer.receiver.on("/hook", ECHO)
        customer.endpoint()
        event = emit_all_over(customer)
        deliver()
        assert holding(CANARY) == {"Event", "EventChannel", "Attempt"}
        erase_event(event, actor="user:anna")
        row = erased(event)
        assert (row.subject, row.idempotency_key, row.channels, row.fingerprint) == ("", None, [], "")
        assert row.type == TYPE
        [entry] = AuditEntry.objects.filter(verb="event.erased")
        assert (entry.actor, entry.target, entry.detail) == ("user:anna", event.public_id, {})

    def test_rows_and_statistics_stay(self, customer: Customer, deliver: Deliver) -> None:
        customer.receiver.on("/hook", [Answer(500, body=CANARY.encode()), ECHO])
        customer.endpoint()
        event = emit_all_over(customer)
        deliver()
        make_due()
        deliver()
        erase_event(event)
        erased(event)
        delivery = Delivery.objects.get()
        assert (delivery.status, delivery.attempts, delivery.last_status) == (DeliveryStatus.SUCCEEDED, 2, 200)
        assert sorted(Attempt.objects.values_list("status", flat=True)) == [200, 500]
        assert sum(row.succeeded + row.server_error for row in HourlyStat.objects.all()) == 2

    def test_the_callback_url_and_its_endpoint(self, customer: Customer, deliver: Deliver) -> None:
        url = customer.receiver.url(f"/callback?who={CANARY}")
        first, second = customer.emit(callback_url=url), customer.emit(callback_url=url)
        deliver()
        erase_event(first)
        assert holding(CANARY) == {"Event", "Attempt", "Endpoint"}, "the other event names it, too"
        erase_event(second)
        assert holding(CANARY) == set()

    def test_a_callback_url_that_is_named_again_is_sent_to_again(self, customer: Customer, deliver: Deliver) -> None:
        url = customer.receiver.url("/callback")
        first = customer.emit(callback_url=url)
        deliver()
        erase_event(first)
        assert Endpoint.objects.get().url == ""
        customer.emit(callback_url=url)
        deliver()
        assert [request.path for request in customer.received] == ["/callback", "/callback"]
        assert Endpoint.objects.get().url == url

    def test_a_callback_url_that_a_pending_event_names_stays(self, customer: Customer, deliver: Deliver) -> None:
        url = customer.receiver.url("/callback")
        first = customer.emit(callback_url=url)
        deliver()
        second = customer.emit(callback_url=url)
        erase_event(first)
        assert Endpoint.objects.get().url == url
        erase_event(second)
        assert Endpoint.objects.get().url == ""

    def test_what_the_playground_has_received(self, customer: Customer, deliver: Deliver) -> None:
        endpoint, _ = open_playground(customer.tenant)
        event = emit_all_over(customer)
        deliver()
        assert len(arrivals(endpoint)) == 1
        erase_event(event)
        erased(event)
        assert arrivals(endpoint) == []

    def test_the_reason_of_a_quarantined_event(self, customer: Customer) -> None:
        event = EventFactory(tenant=customer.tenant, quarantine_reason=f"fan-out failed: {CANARY}", payload=CANARY)
        erase_event(event)
        assert erased(event).quarantine_reason == "erased"

    def test_the_stored_reply_of_the_api(self, customer: Customer) -> None:
        program = Program(customer.tenant)
        given = {"type": TYPE, "data": CANARY, "subject": CANARY}
        first = program.post("/events", given, Idempotency_Key="key-1")
        other = program.post("/events", {"type": TYPE, "data": "other"}, Idempotency_Key="key-2")
        assert holding(CANARY) == {"Event", "IdempotencyRecord"}
        erase_event(Event.objects.get(pk=first["id"].removeprefix("evt_")))
        assert holding(CANARY) == set()
        again = program.post("/events", {"type": TYPE, "data": "other"}, Idempotency_Key="key-2")
        assert again == other, "the other reply stays"

    def test_an_erasure_has_a_stored_reply_too(self, customer: Customer) -> None:
        program = Program(customer.tenant)
        event = emit_all_over(customer)
        for path, body in (("/events/erase", {"subject": CANARY}), (f"/events/{event.public_id}/erase", None)):
            first = program.post(path, body, status=200, Idempotency_Key=path)
            assert program.post(path, body, status=200, Idempotency_Key=path) == first

    def test_the_response_in_the_stored_reply_to_a_test(self, customer: Customer) -> None:
        customer.receiver.on("/hook", ECHO)
        address = f"/webhooks/{customer.endpoint().public_id}/test"
        program = Program(customer.tenant)
        first = program.post(address, {"type": TYPE}, status=200, Idempotency_Key="key-1")
        assert CANARY in first["response_headers"]
        assert CANARY in first["response_body"]
        assert program.post(address, {"type": TYPE}, status=200, Idempotency_Key="key-1") == first
        erase_event(Event.objects.get())
        assert holding(CANARY) == set()
        again = program.post(address, {"type": TYPE}, status=200, Idempotency_Key="key-1")
        assert again == {**first, "response_headers": "", "response_body": ""}
        assert len(customer.received) == 1, "the key still prevents another request"

    def test_other_events_keep_theirs(self, customer: Customer, deliver: Deliver) -> None:
        customer.receiver.on("/hook", ECHO)
        customer.endpoint()
        event, other = customer.emit({"n": 1}), customer.emit({"n": 2})
        deliver()
        erase_event(event)
        other.refresh_from_db()
        assert (other.data, other.erased_at) == ('{"n":2}', None)
        assert CANARY in bytes(Attempt.objects.get(delivery__event=other).response_body).decode()

    def test_twice_is_the_same_as_once(self, customer: Customer) -> None:
        event = emit_all_over(customer)
        first = erase_event(event)
        assert first.erased_at is not None
        before = AuditEntry.objects.count()
        assert erase_event(event.pk).erased_at == first.erased_at
        assert AuditEntry.objects.count() == before

    def test_after_the_payload_was_dropped_the_rest_is_erased_and_noted(self, customer: Customer) -> None:
        event = emit_all_over(customer)
        Event.objects.update(data="null", erased_at=database_now())
        erase_event(event)
        assert erased(event).subject == ""
        assert AuditEntry.objects.filter(verb="event.erased").count() == 1


class TestWhatIsPending:
    def test_an_event_without_deliveries_gets_none(self, customer: Customer, deliver: Deliver) -> None:
        customer.endpoint()
        event = customer.emit()
        erase_event(event)
        deliver()
        assert (customer.received, Delivery.objects.count()) == ([], 0)

    def test_a_pending_delivery_is_cancelled_and_nothing_is_sent(self, customer: Customer, deliver: Deliver) -> None:
        customer.receiver.on("/hook", [500, 200])
        customer.endpoint()
        event = customer.emit()
        deliver_until(lambda: Attempt.objects.exists())
        Delivery.objects.pending().update(next_attempt_at=database_now() + timedelta(hours=1))
        erase_event(event)
        make_due()
        deliver()
        delivery = Delivery.objects.get()
        assert delivery.status == DeliveryStatus.CANCELLED
        assert delivery.completed_at is not None
        assert len(customer.received) == delivery.attempts

    def test_the_next_one_of_a_fifo_endpoint_goes_on(self, receiver: Receiver, deliver: Deliver) -> None:
        endpoint = endpoint_at(receiver, fifo=True, queue__sequence=2)
        head = due_delivery(endpoint, sequence=1, next_attempt_at=database_now() + timedelta(hours=1))
        due_delivery(endpoint, sequence=2)
        EndpointQueue.objects.update(due_at=head.next_attempt_at)
        erase_event(head.event)
        deliver()
        assert len(receiver.requests) == 1

    def test_the_engine_never_sends_a_payload_that_is_blank(self, receiver: Receiver, deliver: Deliver) -> None:
        """A delivery that was read before the erasure, whose event is read after it."""
        delivery = due_delivery(endpoint_at(receiver, wire_format="once"))
        Event.objects.update(data="null", erased_at=database_now())
        deliver()
        assert receiver.requests == []
        delivery.refresh_from_db()
        assert (delivery.status, delivery.last_outcome) == (DeliveryStatus.EXHAUSTED, "not_sent")

    @pytest.mark.parametrize("status", [200, 500])
    def test_the_response_to_a_request_in_flight_is_not_kept(self, receiver: Receiver, status: int) -> None:
        gate = Gate(Answer(status, {"X-Echo": CANARY}, CANARY.encode()))
        receiver.on("/hook", gate)
        delivery = due_delivery(endpoint_at(receiver))
        with running_engine():
            eventually(lambda: gate.waiting)
            erase_event(delivery.event)
            gate.open()
            attempt = eventually(lambda: Attempt.objects.first())
        delivery.refresh_from_db()
        assert delivery.status == DeliveryStatus.CANCELLED
        assert (attempt.status, bytes(attempt.response_body), attempt.response_headers) == (status, b"", "")
        assert holding(CANARY) == set()


def test_the_callback_url_of_a_request_in_flight_is_not_kept(customer: Customer) -> None:
    gate = Gate()
    customer.receiver.on(f"/{CANARY}", gate)
    event = customer.emit(callback_url=customer.receiver.url(f"/{CANARY}"))
    with running_engine():
        eventually(lambda: gate.waiting)
        erase_event(event)
        gate.open()
        eventually(lambda: Attempt.objects.exists())
    assert holding(CANARY) == set()


def test_a_fan_out_that_has_begun_brings_no_callback_url_back(customer: Customer, deliver: Deliver) -> None:
    """The event is erased after the fan-out has read it, and before it writes the deliveries."""

    def overtaken() -> None:
        event = customer.emit(callback_url=customer.receiver.url(f"/{CANARY}"))
        pending = read_these([event.pk], "default")
        erase_event(event)
        plan = plan_deliveries(pending, "default", 0.05, 10)
        now = database_now()
        assert in_fresh_transaction(lambda: write_deliveries(plan, now, "default", in_order=False)).events == 0

    overtaken()
    assert holding(CANARY) == {"Endpoint"}
    prune(now=database_now() + timedelta(days=2))
    assert holding(CANARY) == set()
    erase_event(customer.emit(callback_url=customer.receiver.url(f"/{CANARY}")))
    customer.emit(callback_url=customer.receiver.url(f"/{CANARY}"))
    deliver()
    erase_event(Event.objects.not_erased().get())
    overtaken()
    assert holding(CANARY) == set(), "the endpoint is there, and its URL is erased"


def test_an_idempotency_key_is_free_again(customer: Customer) -> None:
    first = emit(TYPE, {"a": 1}, tenant=customer.tenant, idempotency_key="k")
    erase_event(first)
    assert emit(TYPE, {"a": 2}, tenant=customer.tenant, idempotency_key="k").pk != first.pk
    assert EventChannel.objects.count() == 0
