"""One attempt: the request as it was sent, byte for byte, and all of what came back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.customer import Customer, attempts, deliver, make_due
from tests.factories import AttemptFactory
from tests.visitors import seen, visiting
from webhooks_app.models import Attempt, Tenant
from webhooks_app.tenants.access import Role

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("visitors")]


@pytest.fixture
def customer() -> Iterator[Customer]:
    with Customer() as customer:
        yield customer


def address(attempt: Attempt) -> str:
    return f"/webhooks/deliveries/{attempt.delivery.public_id}/attempts/{attempt.pk.hex}"


def page_of(tenant: Tenant, attempt: Attempt, role: Role = Role.VIEWER) -> str:
    answer = visiting(tenant, role).get(address(attempt))
    assert answer.status_code == 200
    return seen(answer)


def test_it_shows_what_was_really_sent(customer: Customer) -> None:
    customer.endpoint(headers={"Authorization": "Bearer hush"})
    customer.receiver.on("/hook", [404, 200])
    customer.emit({"text": "hello"})
    deliver()
    make_due()
    deliver()
    for attempt, received in zip(attempts(), customer.received, strict=True):
        page = page_of(customer.tenant, attempt, Role.MANAGER)
        for text in (
            f"Attempt {attempt.number}",
            f"POST {customer.receiver.url('/hook')}",
            f"webhook-signature: {received.headers['webhook-signature']}",
            received.body.decode(),  # in the curl command
            "curl --globoff",
            "Authorization: •••",
            "never shown",
        ):
            assert text in page
        assert "hush" not in page


@pytest.mark.parametrize("wire_format", ["standard", "muchaw"])
def test_those_who_may_only_look_see_no_signature(customer: Customer, wire_format: str) -> None:
    """The receiver would accept the signed request from every sender."""
    customer.endpoint(wire_format=wire_format)
    customer.receiver.on("/hook", [200])
    customer.emit({"text": "hello"})
    deliver()
    [attempt], [received] = attempts(), customer.received
    signed = {name: value for name, value in received.headers.items() if "signature" in name}
    assert signed
    page = page_of(customer.tenant, attempt, Role.VIEWER)
    for name, value in signed.items():
        assert value not in page
        assert value[10:40] not in page
        assert f"{name}: •••" in page.lower()
    assert "Only those who may change webhooks see signatures" in page
    assert received.body.decode() in page
    assert "Only those who may change" not in page_of(customer.tenant, attempt, Role.MANAGER)


def test_htmx_gets_the_request_alone() -> None:
    attempt = AttemptFactory()
    answer = visiting(attempt.tenant).get(address(attempt), headers={"HX-Request": "true"})
    assert "curl --globoff" in seen(answer)
    assert "<html" not in seen(answer)


def test_it_shows_all_of_the_answer_as_text() -> None:
    attempt = AttemptFactory(response_body=b"<script>alert(1)</script>" + b"x" * 16_000, response_truncated=True)
    page = visiting(attempt.tenant).get(address(attempt)).content.decode()
    assert "<script>alert" not in page
    assert "x" * 16_000 in page
    assert "Only the beginning of the answer is kept." in page


def test_where_no_request_was_made_it_says_so() -> None:
    attempt = AttemptFactory(outcome="expired", status=None)
    assert "No request was made" in page_of(attempt.tenant, attempt)


def test_anothers_is_not_there() -> None:
    mine, theirs = AttemptFactory(), AttemptFactory()
    client = visiting(mine.tenant)
    for place in (
        address(theirs),
        address(mine).replace(mine.pk.hex, theirs.pk.hex),
        address(mine).replace(mine.pk.hex, "x"),
    ):
        assert client.get(place).status_code == 404


def test_it_costs_as_many_queries_whatever_the_delivery_has_been_through() -> None:
    attempt = AttemptFactory()
    client = visiting(attempt.tenant)
    counts = set()
    for _ in range(2):
        with CaptureQueriesContext(connection) as asked:
            client.get(address(attempt))
        counts.add(len(asked))
        for _ in range(15):
            AttemptFactory(delivery=attempt.delivery)
    assert len(counts) == 1


def test_one_whose_secret_is_lost_still_opens(customer: Customer, configure: Any) -> None:
    customer.endpoint()
    customer.emit()
    deliver()
    (attempt,) = attempts()
    configure(WIRE_FORMATS={}, ENCRYPTION_KEYS=["b29vb29vb29vb29vb29vb29vb29vb29vb29vb29vb28="])
    assert "cannot be shown: the secret is gone" in page_of(customer.tenant, attempt, Role.MANAGER)
