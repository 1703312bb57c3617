"""What the customers' pages say of a delivery that waits, or is sent once more, is what is so."""

from __future__ import annotations

import csv
import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.html import strip_tags

from tests.factories import AttemptFactory, DeliveryFactory, EndpointFactory
from tests.forms import form_id
from tests.visitors import seen, visiting
from tests.waiting import FAILING, NOW, SOON
from webhooks_app.models import Delivery

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("visitors")]

AGAIN = {"attempts": 1, "last_outcome": "succeeded", "last_status": 200}


def page_of(client: Client, row: Delivery) -> str:
    return " ".join(strip_tags(seen(client.get(f"/webhooks/deliveries/{row.public_id}"))).split())


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (FAILING, "It waits: the endpoint is failing, and gets one request at a time"),
        (
            {**FAILING, "attempts": 2, "last_outcome": "timeout"},
            "tried again by itself. It waits: the endpoint is failing",
        ),
        ({**FAILING, "endpoint__queue__not_before": NOW}, "It is due. The endpoint is failing"),
        ({"endpoint__queue__not_before": SOON}, "It waits for its turn: the endpoint is held back"),
        (
            {"endpoint__status": "paused"},
            "It waits: the endpoint is paused. It is sent once that is resumed. To the endpoint",
        ),
        ({"endpoint__status": "disabled"}, "It is sent once that is switched on again. To the endpoint"),
        (
            {"endpoint__status": "disabled", "attempts": 3, "last_outcome": "timeout"},
            "It has not been accepted yet. It waits:",
        ),
        (
            {"event__is_test": True, "attempts": 1, "last_outcome": "timeout"},
            "a test is not repeated by itself.",
        ),
    ],
)
def test_it_is_said_why_a_delivery_waits(values: dict[str, Any], says: str) -> None:
    row = DeliveryFactory(**values)
    page = page_of(visiting(row.tenant), row)
    assert says in page
    assert "It is on its way" not in page


def test_the_time_of_the_next_attempt_is_not_before_the_endpoint_is_held_back_until() -> None:
    row = DeliveryFactory(**FAILING)
    page = page_of(visiting(row.tenant), row)
    assert re.search(rf"Next attemptin \d+ minutes .* {SOON:%H:%M:%S} UTC at the earliest", page)


def test_what_waits_behind_others_in_its_order_says_so() -> None:
    endpoint = EndpointFactory(fifo=True)
    head, second = DeliveryFactory(endpoint=endpoint, sequence=1), DeliveryFactory(endpoint=endpoint, sequence=2)
    client = visiting(endpoint.tenant)
    assert "It is on its way." in page_of(client, head)
    assert "It waits for those before it" in page_of(client, second)


def test_what_was_accepted_and_is_sent_once_more_was_accepted() -> None:
    row = DeliveryFactory(**AGAIN)
    AttemptFactory(delivery=row, outcome="succeeded", status=200)
    client = visiting(row.tenant)
    page = page_of(client, row)
    assert "Your server has accepted it before; it is to be sent once more." in page
    assert "not been accepted yet" not in page
    Delivery.objects.update(status="exhausted", attempts=11, last_outcome="timeout", last_status=None)
    assert "Your server had accepted it before. It was given up after 11 attempts." in page_of(client, row)


def test_where_no_attempt_was_made_none_is_missed() -> None:
    row = DeliveryFactory(status="cancelled")
    page = page_of(visiting(row.tenant), row)
    assert "None was made." in page
    assert "No record" not in page


class TestSendingItNow:
    def pressed(self, **values: Any) -> str:
        row = DeliveryFactory(**values)
        client = visiting(row.tenant)
        form = {"form_id": form_id(seen(client.get(f"/webhooks/deliveries/{row.public_id}")))}
        answer = client.post(f"/webhooks/deliveries/{row.public_id}/retry", form, follow=True)
        return " ".join(strip_tags(seen(answer)).split())

    def test_is_said_to_be_so_where_it_is(self) -> None:
        assert "It is sent now." in self.pressed(next_attempt_at=SOON)
        assert "It is sent again now." in self.pressed(exhausted=True)

    def test_is_so_for_an_endpoint_that_is_failing_too(self) -> None:
        page = self.pressed(**FAILING)
        assert "It is sent now." in page
        assert "Next attemptdue now" in page

    @pytest.mark.parametrize(("status", "says"), [("paused", "is resumed."), ("disabled", "is switched on again.")])
    def test_is_not_promised_where_somebody_must_do_something_first(self, status: str, says: str) -> None:
        page = self.pressed(exhausted=True, endpoint__status=status)
        assert f"It waits until the endpoint {says}" in page
        assert "again now" not in page

    def test_is_not_promised_where_the_receiver_asked_us_to_wait(self) -> None:
        page = self.pressed(**{**FAILING, "endpoint__queue__not_before": NOW + timedelta(hours=5)})
        assert "It is sent as soon as that is possible." in page
        assert "sent now" not in page

    def test_the_question_before_it_promises_no_more(self) -> None:
        row = DeliveryFactory(status="cancelled", endpoint__status="disabled", event__is_test=True)
        page = seen(visiting(row.tenant).get(f"/webhooks/deliveries/{row.public_id}/retry"))
        assert "It is sent once" in page
        assert "It waits until the endpoint is switched on again." in page

    def test_is_not_offered_while_the_endpoint_is_off(self) -> None:
        row = DeliveryFactory(endpoint__status="disabled")
        assert "Send now" not in page_of(visiting(row.tenant), row)


class TestInLists:
    @pytest.mark.parametrize(
        ("values", "says"),
        [
            (FAILING, "waits: endpoint failing"),
            ({"endpoint__status": "paused"}, "waits: endpoint paused"),
            ({"endpoint__status": "disabled"}, "waits: endpoint off"),
            ({"endpoint__queue__not_before": SOON}, "waits: endpoint held back"),
        ],
    )
    def test_it_is_said_shortly_why_it_waits(self, values: dict[str, Any], says: str) -> None:
        row = DeliveryFactory(**values)
        client = visiting(row.tenant)
        for path in ("/deliveries", "/", f"/events/{row.event.public_id}", f"/endpoints/{row.endpoint.public_id}"):
            assert says in seen(client.get(f"/webhooks{path}")), path

    def test_what_does_not_wait_has_no_such_words(self) -> None:
        endpoint = EndpointFactory()
        DeliveryFactory(endpoint=endpoint, succeeded=True)
        DeliveryFactory(endpoint=endpoint)
        assert "waits:" not in seen(visiting(endpoint.tenant).get("/webhooks/deliveries"))

    def test_it_costs_no_query_a_row(self) -> None:
        endpoint = EndpointFactory()
        client = visiting(endpoint.tenant)
        counts = []
        for number in (2, 10):
            for _ in range(number):
                DeliveryFactory(**FAILING, endpoint__tenant=endpoint.tenant)
            with CaptureQueriesContext(connection) as asked:
                client.get("/webhooks/deliveries")
            counts.append(len(asked))
        assert counts[0] == counts[1]

    def test_a_test_event_has_a_badge(self) -> None:
        row = DeliveryFactory(event__is_test=True, exhausted=True)
        client = visiting(row.tenant)
        for path in ("/deliveries", f"/deliveries/{row.public_id}", f"/events/{row.event.public_id}"):
            assert '<span class="badge">test</span>' in seen(client.get(f"/webhooks{path}")), path

    def test_exports_have_the_time_before_which_nothing_is_sent(self) -> None:
        row = DeliveryFactory(**FAILING)
        off = DeliveryFactory(endpoint__tenant=row.tenant, endpoint__status="paused")
        client = visiting(row.tenant)
        text = client.get("/webhooks/deliveries.csv").getvalue().decode()
        found = {line["delivery"]: line["next_attempt_at"] for line in csv.DictReader(text.splitlines())}
        assert found == {row.public_id: SOON.isoformat(timespec="milliseconds"), off.public_id: ""}
