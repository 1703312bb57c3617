"""One delivery: what was sent and what came back, why it failed, and what one can do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.customer import Customer, deliver, make_due, the_delivery
from tests.factories import AttemptFactory, DeliveryFactory
from tests.forms import form_id
from tests.receiver_behaviours import Answer
from tests.visitors import seen, visiting
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.models import AuditEntry, Delivery, DeliveryStatus
from webhooks_app.tenants.access import Role

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("visitors")]


@pytest.fixture
def customer() -> Iterator[Customer]:
    with Customer() as customer:
        yield customer


def address(row: Delivery, act: str = "") -> str:
    return f"/webhooks/deliveries/{row.public_id}{act}"


def page_of(client: Client, row: Delivery, act: str = "", **query: str) -> str:
    answer = client.get(address(row, act), query)
    assert answer.status_code == 200
    return seen(answer)


class TestTheTimeline:
    def test_shows_what_was_answered_and_why_it_failed(self, customer: Customer) -> None:
        customer.endpoint()
        answers = [Answer(404, {"X-Why": "moved"}, b'{"error":"<b>gone</b>"}'), Answer(200, {}, b"thanks")]
        customer.receiver.on("/hook", answers)
        customer.emit({"text": "hello"})
        deliver()
        make_due()
        deliver()
        page = page_of(visiting(customer.tenant, Role.VIEWER), the_delivery())
        for text in (
            "Attempt 1",
            "Attempt 2",
            "404 Refused",
            "X-Why: moved",
            "thanks",
        ):
            assert text in page
        assert '"error": "<b>gone</b>"' in page
        assert page.index("Attempt 2") < page.index("Attempt 1")

    def test_names_the_hosts_own_id_but_no_tests(self) -> None:
        row = DeliveryFactory(event__subject="parcel-<7>")
        test = DeliveryFactory(event__subject="test", event__is_test=True, endpoint=row.endpoint)
        client = visiting(row.tenant)
        assert "<dt>Your id</dt><dd><code>parcel-&lt;7&gt;</code></dd>" in client.get(address(row)).content.decode()
        assert "Your id" not in client.get(address(test)).content.decode()

    def test_escapes_what_a_receiver_answered(self) -> None:
        row = AttemptFactory(
            response_body=b"<script>alert(1)</script>", response_headers="X: <img src=x>", response_truncated=True
        ).delivery
        page = visiting(row.tenant).get(address(row)).content.decode()
        assert "<script>alert" not in page
        assert "<img" not in page
        assert "Only the beginning" in page

    def test_tells_of_the_network_to_staff_alone(self) -> None:
        attempt = AttemptFactory(detail="connect to 10.1.2.3 failed", address="10.1.2.3", http_version="1.1")
        row = attempt.delivery
        client = visiting(row.tenant)
        assert "10.1.2.3" not in page_of(client, row)
        get_user_model().objects.update(is_staff=True)
        page = page_of(client, row)
        assert "connect to 10.1.2.3 failed" in page
        assert "HTTP/1.1" in page

    def test_shows_the_newest_and_leads_to_the_earlier_ones(self) -> None:
        row = DeliveryFactory(exhausted=True)
        for number in range(1, 26):
            AttemptFactory(delivery=row, number=number)
        client = visiting(row.tenant)
        page = page_of(client, row)
        assert "Attempt 25<" in page
        assert "Attempt 5<" not in page
        earlier = re.search(r'href="\?before=([0-9a-f]{32})"', page)
        assert earlier
        page = page_of(client, row, before=earlier[1])
        assert "Attempt 5<" in page
        assert "Attempt 6<" not in page

    def test_is_of_bounded_size_however_large_the_event_and_the_answers(self) -> None:
        row = DeliveryFactory(event__payload={"quotes": '"' * 100_000, "text": "x" * 50_000}, attempts=20)
        assert row.event.size > 250_000
        for number in range(20):
            AttemptFactory(delivery=row, number=number, response_body=b'{"a":"' + b"<" * 16_000 + b'"}')
        answer = visiting(row.tenant).get(address(row))
        assert len(answer.content) < 1_000_000
        assert "Only the beginning is shown." in seen(answer)

    def test_costs_as_many_queries_for_many_attempts_as_for_few(self) -> None:
        row = DeliveryFactory()
        client = visiting(row.tenant)
        counts = []
        for number in (2, 16):
            for _ in range(number):
                AttemptFactory(delivery=row)
            with CaptureQueriesContext(connection) as seen:
                page_of(client, row)
            counts.append(len(seen))
        assert counts[0] == counts[1]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({}, "It is on its way."),
        ({"attempts": 1, "last_outcome": "timeout"}, "tried again by itself"),
        ({"endpoint__status": "paused"}, "the endpoint is paused"),
        ({"endpoint__status": "disabled"}, "the endpoint is switched off"),
        ({"succeeded": True}, "Your server has accepted it."),
        ({"exhausted": True}, "given up after 10 attempts"),
        ({"status": "cancelled"}, "is not sent any more"),
    ],
)
def test_the_state_is_said_in_plain_words(values: dict[str, Any], text: str) -> None:
    row = DeliveryFactory(**values)
    page = page_of(visiting(row.tenant), row)
    assert text in page
    assert ("Next attempt" in page) == (row.status == "pending" and row.endpoint.status == "active")


@pytest.mark.parametrize("kind", OutcomeKind)
def test_every_failure_is_explained(kind: OutcomeKind) -> None:
    row = DeliveryFactory(status="exhausted", attempts=1, last_outcome=kind)
    AttemptFactory(delivery=row, outcome=kind, status=None)
    page = page_of(visiting(row.tenant), row)
    assert 'class="why"' in page


def test_it_leads_to_its_event_and_its_endpoint() -> None:
    row = DeliveryFactory()
    page = page_of(visiting(row.tenant), row)
    assert f'href="/webhooks/events/{row.event.public_id}"' in page
    assert f'href="/webhooks/endpoints/{row.endpoint.public_id}"' in page


class TestActs:
    def test_what_failed_is_sent_again_with_one_click_and_only_once(self) -> None:
        row = DeliveryFactory(exhausted=True)
        client = visiting(row.tenant)
        number = form_id(page_of(client, row))
        answer = client.post(address(row, "/retry"), {"form_id": number}, follow=True)
        assert "sent again now" in answer.content.decode()
        assert Delivery.objects.get().status == DeliveryStatus.PENDING
        Delivery.objects.update(status=DeliveryStatus.SUCCEEDED)
        assert client.post(address(row, "/retry"), {"form_id": number}).status_code == 409
        assert Delivery.objects.get().status == DeliveryStatus.SUCCEEDED
        assert AuditEntry.objects.get(verb="delivery.replayed").actor == f"user:{row.tenant.uid}/manager"

    def test_what_succeeded_is_sent_again_after_a_question(self) -> None:
        row = DeliveryFactory(succeeded=True)
        client = visiting(row.tenant)
        assert 'name="form_id"' not in page_of(client, row)
        question = page_of(client, row, "/retry")
        assert "gets it a second time" in question
        client.post(address(row, "/retry"), {"form_id": form_id(question)})
        assert Delivery.objects.get().status == DeliveryStatus.PENDING

    def test_what_is_pending_is_cancelled_after_a_question(self) -> None:
        row = DeliveryFactory()
        client = visiting(row.tenant)
        assert "Your server misses this event" in page_of(client, row, "/cancel")
        answer = client.post(address(row, "/cancel"), follow=True)
        assert "Cancelled: it is not sent" in answer.content.decode()
        assert Delivery.objects.get().status == DeliveryStatus.CANCELLED
        assert client.post(address(row, "/cancel")).status_code == 409

    def test_nothing_is_sent_to_a_deleted_endpoint(self) -> None:
        row = DeliveryFactory(exhausted=True, endpoint__status="deleted")
        client = visiting(row.tenant)
        assert "Send again" not in page_of(client, row)
        form = {"form_id": "a" * 32}
        assert client.post(address(row, "/retry"), form).status_code == 409

    def test_viewers_have_no_buttons_and_may_not(self) -> None:
        row = DeliveryFactory()
        client = visiting(row.tenant, Role.VIEWER)
        page = page_of(client, row)
        for act in ("/retry", "/cancel"):
            assert act not in page
            assert client.get(address(row, act)).status_code == 403
            assert client.post(address(row, act)).status_code == 403

    def test_anothers_delivery_is_not_there(self) -> None:
        mine, theirs = DeliveryFactory(), DeliveryFactory()
        client = visiting(mine.tenant)
        for act in ("", "/retry", "/cancel"):
            assert client.get(address(theirs, act)).status_code == 404
        for act in ("/retry", "/cancel"):
            assert client.post(address(theirs, act), {"form_id": "a" * 32}).status_code == 404
        assert set(Delivery.objects.values_list("status", flat=True)) == {"pending"}


class TestWhileItIsBeingSent:
    def test_the_page_looks_for_what_is_new_and_shows_it(self) -> None:
        row = DeliveryFactory()
        client = visiting(row.tenant)
        page = page_of(client, row)
        assert "None yet." in page
        assert "<noscript>" in page
        assert client.get(next_look(page)).status_code == 204
        AttemptFactory(delivery=row, outcome="succeeded", status=200)
        Delivery.objects.update(status="succeeded", attempts=1, last_outcome="succeeded", last_status=200)
        news = seen(client.get(next_look(page)))
        assert "<html" not in news
        assert "Attempt 1" in news
        assert 'hx-swap-oob="innerHTML">Your server has accepted it.' in news
        assert "every 3s" not in news  # there is nothing more to come

    def test_what_somebody_has_unfolded_stays(self) -> None:
        attempt = AttemptFactory(delivery__attempts=1)
        page = page_of(visiting(attempt.tenant), attempt.delivery)
        for part in ("answer", "request"):
            assert f'<details id="{part}-{attempt.pk.hex}" hx-preserve' in page

    def test_a_page_of_what_is_over_or_long_ago_does_not_look(self) -> None:
        row = DeliveryFactory(exhausted=True)
        assert "every 3s" not in page_of(visiting(row.tenant), row)
        attempt = AttemptFactory()
        assert "every 3s" not in page_of(visiting(attempt.tenant), attempt.delivery, before=attempt.pk.hex)


def next_look(page: str) -> str:
    """What the page asks for every three seconds."""
    found = re.search(r'hx-get="([^"]*mark=[^"]*)" hx-trigger="every 3s"', page)
    assert found
    return found[1]
