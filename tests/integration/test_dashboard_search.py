"""The box at the top of every page: one for everything that somebody may have in hand."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.factories import DeliveryFactory, EndpointFactory, EventFactory, TenantFactory
from tests.visitors import visiting
from webhooks_app.dashboard.pages.search import MOST_SHOWN
from webhooks_app.models import Event, EventChannel, Tenant

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("visitors")]


def found(tenant: Tenant, text: str) -> str:
    """The address that the one hit leads to, or the page that lists several or none."""
    answer = visiting(tenant).get("/webhooks/search", {"q": text})
    if answer.status_code == 302:
        return str(answer["Location"])
    assert answer.status_code == 200
    return answer.content.decode()


def channel(event: Event, name: str) -> None:
    EventChannel.objects.create(tenant_id=event.tenant_id, event=event, channel=name)


@pytest.mark.parametrize("bare", [False, True])
def test_an_id_leads_to_what_it_names(bare: bool) -> None:
    row = DeliveryFactory()
    for thing, place in ((row, "deliveries"), (row.event, "events"), (row.endpoint, "endpoints")):
        text = thing.pk.hex if bare else thing.public_id
        assert found(row.tenant, text) == f"/webhooks/{place}/{thing.public_id}"


def test_so_do_the_hosts_own_id_an_idempotency_key_and_a_channel() -> None:
    event = EventFactory(subject="order 7/é", idempotency_key="key-1")
    channel(event, "number:+49 & more")
    address = f"/webhooks/events/{event.public_id}"
    assert found(event.tenant, "order 7/é") == address
    assert found(event.tenant, "  order 7/é ") == address
    assert found(event.tenant, "key-1") == address
    assert found(event.tenant, "number:+49 & more") == "/webhooks/deliveries?channel=number%3A%2B49+%26+more"


def test_several_hits_are_listed_by_kind() -> None:
    tenant = TenantFactory()
    events = [EventFactory(tenant=tenant, subject="7") for _ in range(3)]
    EventFactory(tenant=tenant, idempotency_key="7", type="by.key")
    channel(events[0], "7")
    page = found(tenant, "7")
    for heading in ("Events with this id of yours", "Event with this idempotency key", "Channel"):
        assert f"<h2>{heading}</h2>" in page
    places = [page.index(event.public_id) for event in events]
    assert places == sorted(places, reverse=True)  # newest first


@pytest.mark.parametrize("text", ["", "nothing", "<script>alert(1)</script>", "x" * 999, "a\x00b", "evt_", "%_"])
def test_no_hit_teaches_what_can_be_searched_for(text: str) -> None:
    EventFactory(tenant=(tenant := TenantFactory()), subject="")
    page = found(tenant, text)
    assert "whole and exactly" in page
    assert "<script>alert" not in page


def test_another_tenants_things_are_not_there() -> None:
    row = DeliveryFactory()
    Event.objects.filter(pk=row.event_id).update(subject="order-7", idempotency_key="key-1")
    channel(row.event, "number:1")
    mine = EndpointFactory().tenant
    for text in (row.public_id, row.event.public_id, row.endpoint.public_id, "order-7", "key-1", "number:1"):
        assert "whole and exactly" in found(mine, text)


def test_what_was_quarantined_is_staffs() -> None:
    event = EventFactory(subject="order-7", quarantine_reason="no such type")
    for text in ("order-7", event.public_id):
        assert "whole and exactly" in found(event.tenant, text)


def test_it_costs_as_many_queries_whatever_is_found() -> None:
    tenant = TenantFactory()
    client = visiting(tenant)
    counts = []
    for number in (2, 20):
        for _ in range(number):
            EventFactory(tenant=tenant, subject="7")
        with CaptureQueriesContext(connection) as seen:
            client.get("/webhooks/search", {"q": "7"})
        counts.append(len(seen))
    assert counts[0] == counts[1]


def test_an_endpoint_behind_a_callback_url_has_no_page_and_is_not_found() -> None:
    hidden = EndpointFactory(kind="callback")
    assert "Nothing is called that" in found(hidden.tenant, hidden.public_id)


def test_a_part_of_a_url_or_a_description_finds_endpoints() -> None:
    tenant = TenantFactory()
    shop = EndpointFactory(tenant=tenant, url="https://shop.example.com/Hooks", description="Order desk")
    other = EndpointFactory(tenant=tenant, url="https://crm.example.com/")
    EndpointFactory(tenant=tenant, url="https://shop.example.com/deleted", status="deleted")
    EndpointFactory(tenant=tenant, url="https://shop.example.com/hidden", kind="callback")
    EndpointFactory(url="https://shop.example.com/another-tenants")
    for text in ("hooks", "SHOP.example", "order D", "https://shop.example.com/hooks"):
        assert found(tenant, text) == f"/webhooks/endpoints/{shop.public_id}"
    page = found(tenant, "example")
    assert "Endpoints with this in their URL or description" in page
    assert page.index(other.public_id) < page.index(shop.public_id), "newest first"
    for text in ("ex", "%%%", "___", "deleted", "hidden", "another"):
        assert "Nothing is called that" in found(tenant, text)


def test_of_many_endpoints_the_newest_are_shown() -> None:
    tenant = TenantFactory()
    rows = [EndpointFactory(tenant=tenant, url=f"https://example.com/{number}") for number in range(MOST_SHOWN + 1)]
    page = found(tenant, "example.com")
    assert rows[0].public_id not in page
    assert all(row.public_id in page for row in rows[1:])
    assert "There are more; the newest are shown." in page
