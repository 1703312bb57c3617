"""Erase events: no table keeps their data, nothing is sent without its payload, and the history still adds up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from tests.api import Program
from tests.customer import TYPE, Customer, make_due
from tests.factories import AttemptFactory, DeliveryFactory, EndpointFactory, EventFactory
from tests.kept import holding
from tests.locks import locked
from tests.pipelines import Gate, InThread, deliver_until, due_delivery, endpoint_at, eventually, running_engine
from tests.receiver import Receiver
from tests.receiver_behaviours import Answer
from webhooks_app import emit, erase_event, erase_subject, recover, release_quarantined, resend, resend_event, send_now
from webhooks_app.deliveries import erase
from webhooks_app.deliveries.resend import retry_failed
from webhooks_app.deliveries.sent_requests import sent_request
from webhooks_app.exceptions import ConflictingState
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
        first = program.post("/events", {"type": TYPE, "data": CANARY}, Idempotency_Key="key-1")
        other = program.post("/events", {"type": TYPE, "data": "other"}, Idempotency_Key="key-2")
        assert holding(CANARY) == {"Event", "IdempotencyRecord"}
        erase_event(Event.objects.get(pk=first["id"].removeprefix("evt_")))
        assert holding(CANARY) == set()
        again = program.post("/events", {"type": TYPE, "data": "other"}, Idempotency_Key="key-2")
        assert again == other, "the other reply stays"

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
        assert erase_event(event.pk).erased_at == first.erased_at


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


class TestWhatIsRefused:
    @pytest.mark.parametrize("act", [resend, send_now])
    def test_sending_a_delivery(self, act: Callable[..., object]) -> None:
        delivery = DeliveryFactory(exhausted=True)
        erase_event(delivery.event)
        with pytest.raises(ConflictingState, match="was erased"):
            act(delivery)

    def test_sending_the_event(self) -> None:
        delivery = DeliveryFactory(exhausted=True)
        erase_event(delivery.event)
        with pytest.raises(ConflictingState, match="was erased"):
            resend_event(delivery.event)
        delivery.refresh_from_db()
        assert delivery.status == DeliveryStatus.EXHAUSTED

    def test_releasing_it_from_quarantine(self) -> None:
        event = EventFactory(quarantine_reason="fan-out failed: x")
        erase_event(event)
        with pytest.raises(ConflictingState, match="was erased"):
            release_quarantined(event)

    def test_bulk_actions_leave_it_out(self) -> None:
        endpoint = EndpointFactory()
        gone, there = (DeliveryFactory(endpoint=endpoint, exhausted=True) for _ in range(2))
        erase_event(gone.event)
        retried = retry_failed(Delivery.objects.filter(endpoint=endpoint), tenant_id=endpoint.tenant_id)
        assert retried == 1
        Delivery.objects.update(status=DeliveryStatus.EXHAUSTED, completed_at=database_now())
        assert recover(endpoint, database_now() - timedelta(hours=1)).resent == 1
        assert Delivery.objects.pending().get() == there

    def test_recover_makes_no_delivery_of_it(self) -> None:
        endpoint = EndpointFactory()
        gone, there = (EventFactory(tenant=endpoint.tenant) for _ in range(2))
        erase_event(gone)
        assert recover(endpoint, database_now() - timedelta(hours=1)).created == 1
        assert Delivery.objects.get().event == there
        EndpointQueue.objects.update(due_at=database_now())
        Delivery.objects.all().delete()

    def test_its_requests_are_not_shown(self) -> None:
        attempt = AttemptFactory()
        assert sent_request(attempt.delivery, attempt, with_signature=True) is not None
        erase_event(attempt.delivery.event)
        assert sent_request(attempt.delivery, attempt, with_signature=True) is None


class TestBySubject:
    def test_all_events_with_this_subject_and_no_others(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(erase, "CHUNK", 2)
        tenant = EndpointFactory().tenant
        theirs = EventFactory.create_batch(5, tenant=tenant, subject=CANARY, payload=CANARY)
        others = [EventFactory(tenant=tenant, subject="other"), EventFactory(subject=CANARY)]
        assert erase_subject(tenant, CANARY, actor="user:anna").events == 5
        assert set(Event.objects.not_erased()) == set(others)
        entries = AuditEntry.objects.filter(verb="event.erased", tenant=tenant)
        assert {entry.target for entry in entries} == {event.public_id for event in theirs}
        assert holding(CANARY) == {"Event"}
        assert erase_subject(tenant, CANARY).events == 0

    def test_in_parts(self) -> None:
        tenant = EndpointFactory().tenant
        EventFactory.create_batch(3, tenant=tenant, subject="s")
        first = erase_subject(tenant, "s", most=2)
        second = erase_subject(tenant, "s", most=2)
        assert (first.events, first.more, second.events, second.more) == (2, True, 1, False)

    def test_an_empty_subject_is_refused(self) -> None:
        tenant = EndpointFactory().tenant
        EventFactory(tenant=tenant)
        with pytest.raises(ValueError, match="subject is empty"):
            erase_subject(tenant, "")
        assert Event.objects.erased().count() == 0

    def test_an_event_whose_payload_alone_was_erased_loses_its_subject_too(self) -> None:
        event = EventFactory(subject=CANARY, erased_at=database_now())
        assert erase_subject(event.tenant, CANARY).events == 1
        assert Event.objects.get().subject == ""


@pytest.mark.postgres
class TestLocks:
    def test_a_locked_event_is_left_and_the_others_are_erased(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(erase, "CHUNK", 1)
        tenant = EndpointFactory().tenant
        events = EventFactory.create_batch(3, tenant=tenant, subject="s")
        with locked(events[1]), pytest.raises(ConflictingState, match="locked"):
            erase_subject(tenant, "s")
        assert list(Event.objects.not_erased()) == [events[1]]
        assert erase_subject(tenant, "s").events == 1

    def test_a_locked_queue_holds_up_no_other_tenant(self, receiver: Receiver) -> None:
        """Another transaction has locked the queue of an endpoint; the erasure waits for it only for a moment at a time."""
        busy, other = due_delivery(endpoint_at(receiver)), due_delivery(endpoint_at(receiver))
        with locked(EndpointQueue.objects.get(pk=busy.endpoint_id)):
            erasing = InThread(lambda: erase_event(busy.event))
            deliver_until(lambda: Delivery.objects.get(pk=other.pk).status == DeliveryStatus.SUCCEEDED)
            with pytest.raises(ConflictingState, match="locked"):
                erasing.result()
        erase_event(busy.event)
        assert Delivery.objects.get(pk=busy.pk).status == DeliveryStatus.CANCELLED

    def test_a_resend_that_commits_first_is_cancelled(self) -> None:
        """The erasure waits for the queue's lock, and then sees the delivery that was renewed under it."""
        delivery = DeliveryFactory(exhausted=True)
        with transaction.atomic():
            resend(delivery)
            erasing = InThread(lambda: erase_event(delivery.event))
            eventually(_blocks_another)
        erasing.result()
        delivery.refresh_from_db()
        assert delivery.status == DeliveryStatus.CANCELLED


def _blocks_another() -> bool:
    """Return whether another session waits for a lock of this one."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))")
        return bool(cursor.fetchone()[0])


def test_an_idempotency_key_is_free_again(customer: Customer) -> None:
    first = emit(TYPE, {"a": 1}, tenant=customer.tenant, idempotency_key="k")
    erase_event(first)
    assert emit(TYPE, {"a": 2}, tenant=customer.tenant, idempotency_key="k").pk != first.pk
    assert EventChannel.objects.count() == 0
