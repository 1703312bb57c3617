"""Requests that are made again from what is kept are, byte for byte, those that a receiver got."""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.customer import Customer, attempts, deliver, make_due, the_delivery
from tests.factories import AttemptFactory
from tests.receiver_behaviours import Received
from tests.wire_formats import BUILT_IN
from webhooks_app.core.retry import UNSENT_KINDS
from webhooks_app.deliveries.sent_requests import LOST, MASKED, SentRequest, curl_of, sent_request
from webhooks_app.endpoints.secrets import end_old_secret, rotate_secret
from webhooks_app.endpoints.service import create_endpoint
from webhooks_app.models import Attempt, Event, Secret

pytestmark = pytest.mark.django_db(transaction=True)

#: Headers that the HTTP client makes.
CLIENTS = {"host", "content-length", "accept", "accept-encoding", "connection"}
DATA = {"text": "it's é “quoted” $HOME `id` \\ \n 📦", "n": 1.5, "list": []}


@pytest.fixture
def customer() -> Iterator[Customer]:
    with Customer() as customer:
        yield customer


def webhook(customer: Customer, wire_format: str = "standard", **options: Any) -> Any:
    url = customer.receiver.url("/hook?token=a'b")
    return create_endpoint(customer.tenant, url=url, events=["*"], wire_format=wire_format, **options)[0]


def assert_same(request: SentRequest | None, received: Received) -> None:
    assert request is not None
    assert request.complete
    assert request.body == received.body
    assert request.url.endswith(received.path)
    sent = [(name.lower(), value) for name, value in request.headers]
    came = [(name.lower(), value) for name, value in received.header_lines if name.lower() not in CLIENTS]
    assert sorted(sent) == sorted(came)


def request_of(attempt: Attempt) -> SentRequest | None:
    return sent_request(attempt.delivery, attempt, with_signature=True)


def rebuilt() -> list[SentRequest | None]:
    return [request_of(attempt) for attempt in attempts()]


@pytest.mark.parametrize("wire_format", sorted(BUILT_IN))
class TestEveryWireFormat:
    def test_each_attempt_is_as_it_was_received(self, customer: Customer, wire_format: str) -> None:
        webhook(customer, wire_format)
        customer.receiver.on("/hook", [500, 200])
        customer.emit(DATA)
        deliver()
        make_due()
        deliver()
        for request, received in zip(rebuilt(), customer.received, strict=True):
            assert_same(request, received)

    def test_also_while_two_secrets_overlap_and_after(self, customer: Customer, wire_format: str) -> None:
        endpoint = webhook(customer, wire_format)
        customer.receiver.on("/hook", [401, 401, 500, 200])
        rotate_secret(endpoint)
        customer.emit(DATA)
        deliver()
        make_due()
        deliver()
        end_old_secret(endpoint)
        rotate_secret(endpoint)
        assert len(customer.received) >= 2
        for request, received in zip(rebuilt(), customer.received, strict=True):
            assert_same(request, received)


def test_the_values_of_the_tenants_own_headers_are_masked(customer: Customer) -> None:
    webhook(customer, headers={"Authorization": "Bearer hush", "X-Shop": "7"})
    customer.emit()
    deliver()
    [request] = rebuilt()
    assert request is not None
    assert ("Authorization", MASKED) in request.headers
    assert ("X-Shop", MASKED) in request.headers
    assert "hush" not in repr(request) + curl_of(request)
    assert "Authorization: <your Authorization>" in curl_of(request)


@pytest.mark.parametrize("wire_format", sorted(BUILT_IN))
def test_a_secret_that_is_gone_is_said_to_be(customer: Customer, wire_format: str) -> None:
    webhook(customer, wire_format)
    customer.emit(DATA)
    deliver()
    Secret.objects.all().delete()
    [request] = rebuilt()
    assert request is not None
    assert not request.complete
    received = customer.received[0]
    for name, value in request.headers:
        assert value in (LOST, received.headers[name.lower()])
    assert [value for _, value in request.headers].count(LOST) == 1
    assert request.body == received.body


def test_a_secret_whose_key_is_lost_is_said_to_be(customer: Customer, configure: Any) -> None:
    webhook(customer, headers={"X-Shop": "7"})
    customer.emit()
    deliver()
    configure(ENCRYPTION_KEYS=[base64.b64encode(b"o" * 32).decode()])
    [request] = rebuilt()
    assert request is not None
    assert not request.complete
    assert ("webhook-signature", LOST) in request.headers
    assert "webhook-id" in dict(request.headers)


def test_no_request_is_made_up_where_none_was_made(customer: Customer) -> None:
    webhook(customer)
    customer.emit()
    deliver()
    for kind in UNSENT_KINDS:
        assert request_of(AttemptFactory(delivery=the_delivery(), outcome=kind, status=None)) is None
    Event.objects.all().delete()
    assert request_of(attempts()[0]) is None


def test_what_a_scheme_of_the_hosts_cannot_sign_again_is_not_shown(
    customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook(customer)
    customer.emit()
    deliver()

    def fails(*_: object, **__: object) -> Any:
        raise KeyError("a mistake of the host's")

    monkeypatch.setattr(type(BUILT_IN["standard"].scheme), "headers", fails)
    assert rebuilt() == [None]


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
def test_the_command_sends_the_same_request(customer: Customer) -> None:
    webhook(customer)
    customer.emit({**DATA, "quotes": "'\"'\"'; exit 1 #"})
    deliver()
    [request] = rebuilt()
    assert request is not None
    subprocess.run(["sh", "-c", curl_of(request) + " -s"], check=True, timeout=20)
    first, second = customer.received
    assert (second.method, second.path, second.body) == ("POST", first.path, first.body)
    assert_same(request, second)
