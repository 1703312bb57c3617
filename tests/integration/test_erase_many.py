"""What becomes of erased events afterwards, erasing many of them, and erasing while others hold locks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection, transaction

from tests.factories import AttemptFactory, DeliveryFactory, EndpointFactory, EventFactory
from tests.kept import holding
from tests.locks import locked
from tests.pipelines import InThread, deliver_until, due_delivery, endpoint_at, eventually, running_engine
from tests.receiver import Receiver
from tests.receiver_behaviours import Answer
from webhooks_app import emit, erase_event, erase_subject, recover, release_quarantined, resend, resend_event, send_now
from webhooks_app.deliveries import erase
from webhooks_app.deliveries.resend import retry_failed
from webhooks_app.deliveries.sent_requests import sent_request
from webhooks_app.exceptions import ConflictingState
from webhooks_app.models import Attempt, AuditEntry, Delivery, DeliveryStatus, EndpointQueue, Event, database_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]

CANARY = "CANARY51ce"


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


def test_erasing_while_engines_deliver(receiver: Receiver) -> None:
    """Whatever the order: no request has a blank payload, and nothing is kept of any event."""
    echo = Answer(200, {"X-Echo": CANARY}, CANARY.encode())
    receiver.on("/hook", [echo, Answer(500, body=CANARY.encode())] * 100)
    endpoint = endpoint_at(receiver)
    fifo = endpoint_at(receiver, tenant=endpoint.tenant, fifo=True)
    tenant = endpoint.tenant
    with running_engine(2):
        for number in range(40):
            emit("test.happened", {"who": CANARY}, tenant=tenant, subject=f"s-{number}", channels=[CANARY])
            if number % 2:
                erase_subject(tenant, f"s-{number}")
        for number in range(0, 40, 2):
            erase_subject(tenant, f"s-{number}")
        eventually(lambda: not EndpointQueue.objects.filter(holder_id__isnull=False).exists())
    assert all(CANARY.encode() in request.body for request in receiver.requests)
    assert holding(CANARY) == set()
    assert not Delivery.objects.pending().exists()
    assert Event.objects.not_erased().count() == 0
    recorded = Attempt.objects.filter(endpoint_id__in=(endpoint.pk, fifo.pk)).exclude(outcome="not_sent")
    assert recorded.count() == len(receiver.requests)
