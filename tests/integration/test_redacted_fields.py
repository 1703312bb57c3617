"""Redacted fields: receivers get the values; pages, the API, the admin and exports do not show them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests import api
from tests.api import Program
from tests.customer import Customer
from tests.staff import page, text_of, viewer
from tests.visitors import seen, visiting
from webhooks_app import EventType, emit, export_tenant, registry, resend_event
from webhooks_app.deliveries.test_event import send_test_event
from webhooks_app.exceptions import InvalidEvent
from webhooks_app.models import Attempt, Event
from webhooks_app.playground import arrivals, open_playground
from webhooks_app.playground.requests import Verdict

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("visitors")]

no_counts = api.no_counts

NUMBER = "4111222233334444"
DATA = {"card": {"number": NUMBER, "brand": "visa"}, "order": 17}
SHOWN = {"card": {"number": "[redacted]", "brand": "visa"}, "order": 17}
SCHEMA = {"properties": {"card": {"properties": {"number": {"type": "string"}}}}}
Deliver = Callable[..., Any]


@pytest.fixture
def customer() -> Iterator[Customer]:
    registry.register(EventType("card.paid", redact=("data.card.number",), schema=SCHEMA))
    with Customer() as customer:
        yield customer
    registry.unregister(["card.paid"])


def paid(customer: Customer) -> Event:
    return emit("card.paid", DATA, tenant=customer.tenant)


def test_the_receiver_gets_the_values_in_a_resend_too(customer: Customer, deliver: Deliver) -> None:
    customer.endpoint()
    event = paid(customer)
    deliver()
    resend_event(event)
    deliver()
    assert [json.loads(request.body)["data"] for request in customer.received] == [DATA, DATA]


def test_filters_compare_the_values(customer: Customer, deliver: Deliver) -> None:
    customer.endpoint(filters={"data.card.number": NUMBER})
    paid(customer)
    deliver()
    assert len(customer.received) == 1


def test_the_api_shows_none(customer: Customer) -> None:
    program = Program(customer.tenant)
    made = program.post("/events", {"type": "card.paid", "data": DATA}, Idempotency_Key="k")
    assert made["data"] == SHOWN
    assert program.post("/events", {"type": "card.paid", "data": DATA}, Idempotency_Key="k") == made
    assert program.get(f"/events/{made['id']}")["data"] == SHOWN
    assert program.get("/events")["results"][0]["data"] == SHOWN


def test_the_pages_show_none(customer: Customer, deliver: Deliver) -> None:
    customer.endpoint()
    event = paid(customer)
    deliver()
    attempt = Attempt.objects.get()
    delivery = attempt.delivery
    client = visiting(customer.tenant)
    for address in (f"events/{event.public_id}", f"deliveries/{delivery.public_id}/attempts/{attempt.pk.hex}"):
        text = seen(client.get(f"/webhooks/{address}"))
        assert NUMBER not in text
        assert '"number": "[redacted]"' in text
    assert customer.received[0].headers["webhook-signature"] not in text, "a signature of the body tells of it"
    assert "shown as [redacted]" in text


def test_the_admin_shows_none(customer: Customer) -> None:
    event = paid(customer)
    text = text_of(viewer("view_payload"), page(event))
    assert NUMBER not in text
    assert "[redacted]" in text


@pytest.mark.parametrize("data", [{**DATA, "more": "x" * 300_000}, {**DATA, "more": object()}])
def test_what_is_kept_of_a_rejected_payload_is_not_shown(customer: Customer, configure: Any, data: Any) -> None:
    configure(STRICT=False)
    event = emit("card.paid", data, tenant=customer.tenant)
    event.refresh_from_db()
    assert event.quarantine_reason
    assert NUMBER in event.data
    text = text_of(viewer("view_payload"), page(event))
    assert NUMBER not in text
    assert "[redacted]" in text
    assert NUMBER not in "".join(export_tenant(customer.tenant))


def test_the_export_has_none(customer: Customer, deliver: Deliver) -> None:
    open_playground(customer.tenant)
    paid(customer)
    deliver()
    lines = "".join(export_tenant(customer.tenant))
    assert NUMBER not in lines
    assert '"number": "[redacted]"' in lines


@pytest.mark.parametrize("by_test", [False, True])
def test_the_playground_keeps_no_body(customer: Customer, deliver: Deliver, by_test: bool) -> None:
    endpoint, _ = open_playground(customer.tenant)
    if by_test:
        send_test_event(endpoint, type="card.paid", data=DATA)
    else:
        paid(customer)
        deliver()
    customer.emit({"n": NUMBER})
    deliver()
    other, mine = arrivals(endpoint)
    assert NUMBER.encode() in other.request.body
    assert (mine.request.body, mine.check.verdict) == (b"", Verdict.INCOMPLETE)
    assert dict(mine.request.headers)["webhook-id"]


def test_an_error_quotes_no_value(customer: Customer, configure: Any, caplog: pytest.LogCaptureFixture) -> None:
    wrong = {"card": {"number": int(NUMBER)}}
    with pytest.raises(InvalidEvent) as refused:
        emit("card.paid", wrong, tenant=customer.tenant)
    assert NUMBER not in str(refused.value)
    configure(STRICT=False)
    emit("card.paid", wrong, tenant=customer.tenant)
    assert NUMBER not in caplog.text
    assert NUMBER not in Event.objects.get().quarantine_reason
