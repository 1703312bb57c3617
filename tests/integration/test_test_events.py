"""Test events, sent while somebody waits for the answer."""

from __future__ import annotations

import pytest

from tests.pipelines import Gate, InThread, endpoint_at, eventually
from tests.receiver import Receiver
from webhooks_app import emit
from webhooks_app.deliveries.test_event import send_test_event
from webhooks_app.exceptions import ConflictingState, InvalidEvent
from webhooks_app.models import Event

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]


def test_one_tenant_waits_for_one_answer_at_a_time(receiver: Receiver) -> None:
    gate = Gate()
    receiver.on("/slow", gate)
    slow = endpoint_at(receiver, "/slow", wire_format="slow")
    beside, another = endpoint_at(receiver, tenant=slow.tenant), endpoint_at(receiver)
    first = InThread(lambda: send_test_event(slow, type="test.happened"))
    eventually(lambda: gate.waiting)
    with pytest.raises(ConflictingState, match="still waits"):
        send_test_event(beside, type="test.happened")
    assert send_test_event(another, type="test.happened").status == 200, "another tenant's"
    gate.open()
    assert first.result().status == 200
    assert send_test_event(beside, type="test.happened").status == 200


def test_one_that_could_not_be_sent_keeps_no_other_waiting(receiver: Receiver) -> None:
    endpoint = endpoint_at(receiver)
    with pytest.raises(InvalidEvent):
        send_test_event(endpoint, type="test.checked", data={"n": "no number"})
    assert send_test_event(endpoint, type="test.checked", data={"n": 1}).status == 200


def test_it_is_told_from_what_a_host_gives_the_same_subject(receiver: Receiver) -> None:
    endpoint = endpoint_at(receiver)
    send_test_event(endpoint, type="test.happened")
    emit("test.happened", {}, tenant=endpoint.tenant, subject="test")
    assert [event.is_test for event in Event.objects.order_by("id")] == [True, False]
