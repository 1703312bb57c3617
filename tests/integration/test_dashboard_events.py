"""One event: what happened, where it went, and sending it again."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.factories import DeliveryFactory, EndpointFactory, EventFactory
from tests.forms import form_id
from tests.visitors import seen, visiting
from webhooks_app.models import AuditEntry, Delivery, DeliveryStatus, Event
from webhooks_app.tenants.access import Role

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("visitors")]


def address(event: Event, act: str = "") -> str:
    return f"/webhooks/events/{event.public_id}{act}"


def page_of(client: Client, event: Event, act: str = "") -> str:
    answer = client.get(address(event, act))
    assert answer.status_code == 200
    return seen(answer)


def went_to(event: Event, **values: object) -> Delivery:
    return DeliveryFactory(event=event, endpoint=EndpointFactory(tenant=event.tenant), **values)


def test_it_shows_everything_that_is_known_of_the_event() -> None:
    event = EventFactory(
        subject="order-7", idempotency_key="key-1", channels=["number:+49 1"], payload={"n": 1.5, "text": "e"}
    )
    row = went_to(event, exhausted=True)
    page = page_of(visiting(event.tenant, Role.VIEWER), event)
    for text in (event.public_id, event.type, "order-7", "key-1", "number:+49 1", '"n": 1.5', '"text": "e"'):
        assert text in page
    assert "channel=number%3A%2B49%201" in page
    assert f"/webhooks/deliveries/{row.public_id}" in page
    assert row.endpoint.url in page
    assert "500 Server error" in page


def test_payloads_are_escaped() -> None:
    event = EventFactory(payload={"text": "<script>alert(1)</script>"}, subject="<b>x", channels=["<i>"])
    page = visiting(event.tenant).get(f"/webhooks/events/{event.public_id}").content.decode()
    for text in ("<script>alert", "<b>x", "<i>"):
        assert text not in page


def test_it_says_why_it_went_nowhere() -> None:
    nowhere, waiting = EventFactory(), EventFactory(fanned_out_at=None)
    assert "No endpoint wanted it" in page_of(visiting(nowhere.tenant), nowhere)
    assert "about to be sent" in page_of(visiting(waiting.tenant), waiting)


@pytest.mark.parametrize("act", ["", "/replay"])
def test_others_and_quarantined_ones_are_not_there(act: str) -> None:
    theirs, mine = EventFactory(), EventFactory(quarantine_reason="no such type")
    client = visiting(mine.tenant)
    for event in (theirs, mine):
        for answer in (client.get(address(event, act)), client.post(address(event, act))):
            assert answer.status_code in (404, 405)


def test_a_replay_asks_first_then_sends_to_all_once() -> None:
    event = EventFactory()
    rows = [went_to(event, exhausted=True), went_to(event, succeeded=True)]
    went_to(event)
    client = visiting(event.tenant)
    assert "Send again to all" in page_of(client, event)
    question = page_of(client, event, "/replay")
    for row in rows:
        assert row.endpoint.url in question
    number = form_id(question)
    answer = client.post(address(event, "/replay"), {"form_id": number}, follow=True)
    assert "sent again now, to 2 endpoints" in answer.content.decode()
    assert Delivery.objects.filter(status=DeliveryStatus.PENDING).count() == 3
    Delivery.objects.update(status=DeliveryStatus.SUCCEEDED)
    assert client.post(address(event, "/replay"), {"form_id": number}).status_code == 409
    assert not Delivery.objects.pending().exists()
    entry = AuditEntry.objects.get(verb="event.replayed")
    assert entry.actor == f"user:{event.tenant.uid}/manager"


def test_a_replay_says_to_whom_it_does_not_go_and_who_waits() -> None:
    event = EventFactory()
    went_to(event, exhausted=True)
    DeliveryFactory(event=event, endpoint=EndpointFactory(tenant=event.tenant, status="paused"), exhausted=True)
    under_way = DeliveryFactory(event=event, endpoint=EndpointFactory(tenant=event.tenant, status="disabled"))
    client = visiting(event.tenant)
    question = page_of(client, event, "/replay")
    still = question.index("To these it is still to be sent")
    assert question.index(under_way.endpoint.url) > still
    assert "waits: endpoint off" in question[still:]
    page = seen(client.post(address(event, "/replay"), {"form_id": form_id(question)}, follow=True))
    assert (
        "It is to be sent again to 2 endpoints. 2 wait until their endpoints, which are paused or switched off" in page
    )
    assert "sent again now" not in page


def test_viewers_have_no_button_and_may_not() -> None:
    event = EventFactory()
    went_to(event, exhausted=True)
    client = visiting(event.tenant, Role.VIEWER)
    assert "/replay" not in page_of(client, event)
    assert client.post(address(event, "/replay")).status_code == 403


def test_what_is_on_its_way_is_not_sent_again() -> None:
    event = EventFactory()
    went_to(event)
    client = visiting(event.tenant)
    assert "/replay" not in page_of(client, event)
    assert "nothing to send again" in page_of(client, event, "/replay")


@pytest.mark.parametrize("sent", ["x", "-1", "9" * 40, "²", "<b>"])
def test_a_made_up_confirmation_confirms_nothing(sent: str) -> None:
    event = EventFactory()
    answer = visiting(event.tenant).get(address(event), {"sent": sent})
    assert answer.status_code == 200
    assert "sent again now" not in answer.content.decode()


def test_it_costs_as_many_queries_for_many_deliveries_as_for_few() -> None:
    event = EventFactory()
    client = visiting(event.tenant)
    counts = []
    for number in (2, 18):
        for _ in range(number):
            went_to(event)
        with CaptureQueriesContext(connection) as seen:
            page_of(client, event)
        counts.append(len(seen))
    assert counts[0] == counts[1]


def test_the_page_follows_what_is_being_sent() -> None:
    event = EventFactory(fanned_out_at=None)
    client = visiting(event.tenant)
    page = page_of(client, event)
    assert "about to be sent" in page
    look = re.search(r'hx-get="([^"]*)" hx-trigger="every 3s"', page)
    assert look
    assert client.get(look[1]).status_code == 204
    Event.objects.update(fanned_out_at=event.created_at)
    row = DeliveryFactory(event=event, endpoint__tenant=event.tenant)
    news = seen(client.get(look[1]))
    assert "<html" not in news
    assert row.endpoint.url in news
    assert "every 3s" in news  # it is still under way
    Delivery.objects.update(status=DeliveryStatus.SUCCEEDED)
    assert "every 3s" not in page_of(client, event)
