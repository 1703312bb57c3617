"""Deleting an endpoint erases its secrets and headers at once; what is in flight still ends as usual."""

from __future__ import annotations

import pytest

from tests.factories import AttemptFactory, EndpointFactory
from tests.pipelines import Gate, due_delivery, endpoint_at, eventually, running_engine
from tests.receiver import Receiver
from webhooks_app import create_endpoint, delete_endpoint
from webhooks_app.deliveries.sent_requests import sent_request
from webhooks_app.models import Attempt, DeliveryStatus, Endpoint, Secret

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]


def test_its_secrets_and_headers_are_gone_at_once(receiver: Receiver) -> None:
    url, headers = receiver.url("/hook"), {"Authorization": "Bearer x"}
    endpoint, _ = create_endpoint("acme", url=url, events=["*"], headers=headers)
    other, _ = create_endpoint("acme", url=url, events=["*"], headers=headers)
    locked, _ = create_endpoint("acme", url=url, events=["*"], authentication={"kind": "bearer", "token": "x"})
    delete_endpoint(endpoint)
    assert Endpoint.objects.get(pk=endpoint.pk).headers == ""
    delete_endpoint(locked)
    assert Endpoint.objects.get(pk=locked.pk).authentication == ""
    assert [secret.endpoint_id for secret in Secret.objects.all()] == [other.pk]
    assert Endpoint.objects.get(pk=other.pk).custom_headers() == headers
    delete_endpoint(endpoint)


def test_a_request_in_flight_still_ends(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    receiver.on("/hook", gate)
    delivery = due_delivery(endpoint_at(receiver, headers={"X-Own": "1"}))
    with running_engine():
        eventually(lambda: gate.waiting)
        delete_endpoint(delivery.endpoint)
        gate.open()
        attempt = eventually(lambda: Attempt.objects.first())
    assert attempt.outcome == "succeeded"
    delivery.refresh_from_db()
    assert delivery.status == DeliveryStatus.CANCELLED
    assert [record.getMessage() for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


def test_what_was_sent_to_it_can_still_be_shown_without_its_signature() -> None:
    attempt = AttemptFactory(delivery__endpoint=EndpointFactory())
    delete_endpoint(attempt.endpoint)
    sent = sent_request(attempt.delivery, attempt, with_signature=True)
    assert sent is not None
    assert not sent.complete
