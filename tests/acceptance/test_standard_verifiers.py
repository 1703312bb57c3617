"""The independent libraries of Standard Webhooks and Svix verify what the real engine sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import standardwebhooks.webhooks
import svix.webhooks

from tests.acceptance.test_receivers import PAYLOADS
from tests.customer import TYPE, Customer, deliver, make_due
from tests.receiver_behaviours import Received
from webhooks_app.core.secrets import new_ed25519_secret
from webhooks_app.core.signing import ED25519_PRIVATE, key_of
from webhooks_app.endpoints.secrets import rotate_secret
from webhooks_app.endpoints.service import create_endpoint
from webhooks_app.wire_formats import standard

pytestmark = pytest.mark.django_db(transaction=True)

VERIFIERS: dict[str, Any] = {"standardwebhooks": standardwebhooks.webhooks, "svix": svix.webhooks}


@pytest.fixture
def customer() -> Iterator[Customer]:
    with Customer() as customer:
        yield customer


@pytest.fixture(params=VERIFIERS)
def library(request: pytest.FixtureRequest) -> Any:
    return VERIFIERS[request.param]


def subscribe(customer: Customer, **options: Any) -> tuple[Any, str]:
    return create_endpoint(customer.tenant, url=customer.receiver.url("/hook"), events=["*"], **options)


def verified(library: Any, secret: str, request: Received) -> Any:
    return library.Webhook(secret).verify(request.body, dict(request.headers))


def test_every_payload_verifies_and_arrives_as_it_was_emitted(customer: Customer, library: Any) -> None:
    _, secret = subscribe(customer)
    events = {customer.emit(data).public_id: data for data in PAYLOADS.values() if data is not None}
    deliver()
    assert {request.headers["webhook-id"] for request in customer.received} == set(events)
    for request in customer.received:
        body = json.loads(request.body)
        assert verified(library, secret, request) in (body, None)
        emitted = json.loads(json.dumps(events[request.headers["webhook-id"]]))  # as JSON has it
        assert (body["type"], body["data"]) == (TYPE, emitted)


def test_each_attempt_verifies_with_its_own_time(customer: Customer, library: Any) -> None:
    _, secret = subscribe(customer)
    customer.receiver.on("/hook", [500, 200])
    customer.emit()
    deliver()
    make_due()
    deliver()
    assert len(customer.received) == 2
    for request in customer.received:
        verified(library, secret, request)


def test_both_secrets_of_a_rotation_verify_the_same_request(customer: Customer, library: Any) -> None:
    endpoint, first = subscribe(customer)
    second = rotate_secret(endpoint).text
    third = rotate_secret(endpoint).text
    customer.emit()
    deliver()
    [request] = customer.received
    for secret in (first, second, third):
        verified(library, secret, request)


def test_a_secret_that_the_customer_brought_verifies(customer: Customer, library: Any) -> None:
    secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
    subscribe(customer, secret=secret)
    customer.emit()
    deliver()
    verified(library, secret, customer.received[0])


def test_another_secret_a_changed_body_and_an_old_time_do_not_verify(customer: Customer, library: Any) -> None:
    """Or else the tests above would show nothing."""
    _, secret = subscribe(customer)
    customer.emit()
    deliver()
    [request] = customer.received
    headers = dict(request.headers)
    checker = library.Webhook(secret)
    for body, changed in (
        (request.body + b" ", headers),
        (request.body, {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) - 301)}),
        (request.body, {**headers, "webhook-id": "evt_other"}),
    ):
        with pytest.raises(library.WebhookVerificationError):
            checker.verify(body, changed)
    with pytest.raises(library.WebhookVerificationError):
        library.Webhook("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").verify(request.body, headers)


def test_an_asymmetric_secret_verifies_with_its_public_half_alone(customer: Customer) -> None:
    secret = new_ed25519_secret()
    assert secret.startswith(ED25519_PRIVATE)
    subscribe(customer, secret=secret)
    customer.emit()
    deliver()
    [request] = customer.received
    assert request.headers["webhook-signature"].startswith("v1a,")
    secret_format = standard.WIRE_FORMAT.secret_format
    public = key_of(key_of(secret, secret_format).public_text, secret_format)  # type: ignore[union-attr]
    moment = int(request.headers["webhook-timestamp"])
    standard.WIRE_FORMAT.scheme.verify(request.headers, request.body, [public], now=moment)
