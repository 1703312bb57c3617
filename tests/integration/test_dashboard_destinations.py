"""How the customers' pages name endpoints: by a URL that breaks at sensible places, and the playground by its name."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
from django.test import Client

from tests.factories import AttemptFactory, DeliveryFactory, EndpointFactory
from tests.playgrounds import opened
from tests.visitors import seen, visiting
from webhooks_app.models import Delivery, Endpoint
from webhooks_app.playground.service import answer_with, close_playground

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("visitors")]

HOSTILE = 'https://example.com/<script>alert(1)</script>/it\'s?a="b"&c=d'
LOG = "/webhooks/deliveries"


def pages_of(row: Delivery) -> list[str]:
    """Every page that names the delivery's endpoint, once it can be changed and the delivery can be sent."""
    endpoint, delivery = f"/webhooks/endpoints/{row.endpoint.public_id}", f"{LOG}/{row.public_id}"
    event = f"/webhooks/events/{row.event.public_id}"
    return [
        *(
            "/webhooks/",
            LOG,
            f"{LOG}?endpoint={row.endpoint.public_id}",
            f"{LOG}/retry?endpoint={row.endpoint.public_id}",
        ),
        *(endpoint, *(f"{endpoint}/{act}" for act in ("edit", "rotate", "delete", "test", "recover"))),
        *(delivery, f"{delivery}/retry", f"{delivery}/cancel", event, f"{event}/replay"),
        *("/webhooks/audit-log", f"/webhooks/audit-log?target={row.endpoint.public_id}"),
        *(f"/webhooks/search?q={row.event.subject}", request_of(row)),
    ]


def request_of(row: Delivery) -> str:
    return f"{LOG}/{row.public_id}/attempts/{row.attempt_rows.get().pk.hex}"


def found(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, address
    return answer.content.decode()


def delivered(endpoint: Endpoint, **values: object) -> Delivery:
    """A delivery with one attempt, whose event can be searched for together with its endpoint."""
    subject = endpoint.pk.hex
    row: Delivery = DeliveryFactory(endpoint=endpoint, event__subject=subject, **values)
    AttemptFactory(delivery=row, url=endpoint.url)
    return row


def test_urls_break_at_sensible_places_and_are_text_on_every_page() -> None:
    row = delivered(EndpointFactory(url=HOSTILE), exhausted=True)
    client = visiting(row.tenant)
    for address in pages_of(row):
        page = client.get(address)
        assert b"<script>alert" not in page.content, address
        assert "alert(1)" in seen(page) or address == f"{LOG}/retry", address
    assert "https://<wbr>example.<wbr>com/<wbr>" in found(client, "/webhooks/")


def test_the_playground_is_called_so_and_its_url_is_on_no_page() -> None:
    tenant, endpoint, _secret = opened()
    answer_with(tenant, "500")
    endpoint.refresh_from_db()
    row = delivered(endpoint, exhausted=True)
    client = visiting(tenant)
    for address in pages_of(row):
        page = found(client, address)
        assert "playground:" not in page, address
        assert "layground" in page.partition("<main")[2], address


def test_so_it_is_once_it_is_closed() -> None:
    tenant, endpoint, _secret = opened()
    row = delivered(endpoint, exhausted=True)
    close_playground(tenant)
    for address in (LOG, f"{LOG}/{row.public_id}", "/webhooks/audit-log", f"/webhooks/endpoints/{endpoint.public_id}"):
        page = found(visiting(tenant), address)
        assert "playground:" not in page, address
        assert "Playground" in page.partition("<main")[2], address


def test_it_has_no_url_to_change_and_the_rest_of_it_is_changed() -> None:
    tenant, endpoint, _secret = opened()
    client = visiting(tenant)
    address = f"/webhooks/endpoints/{endpoint.public_id}/edit"
    page = found(client, address)
    assert 'name="url"' not in page
    hidden = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', page))
    client.post(address, {**hidden, "which": "all", "description": "Mine", "url": "https://example.com/"}, follow=True)
    endpoint.refresh_from_db()
    assert (endpoint.description, endpoint.url) == ("Mine", "playground:200")


def test_an_export_has_no_url_of_it() -> None:
    tenant, endpoint, _secret = opened()
    delivered(endpoint)
    client = visiting(tenant)
    table, listed = (b"".join(client.get(f"{LOG}.{kind}")).decode() for kind in ("csv", "json"))
    (line,) = csv.DictReader(io.StringIO(table))
    assert (line["url"], line["webhook"]) == ("", endpoint.public_id)
    (one,) = json.loads(listed)["deliveries"]
    assert (one["url"], one["webhook"]) == (None, endpoint.public_id)


def test_no_command_is_offered_that_cannot_reach_it() -> None:
    tenant, endpoint, _secret = opened()
    playground, own = delivered(endpoint), delivered(EndpointFactory(tenant=tenant))
    client = visiting(tenant)
    page = found(client, request_of(playground))
    assert "curl" not in page
    assert "the playground cannot be reached from outside" in page
    assert "curl --globoff" in found(client, request_of(own))
