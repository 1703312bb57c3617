"""The customers' pages about event types."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.factories import EventTypeFactory, TenantFactory
from tests.pipelines import endpoint_at
from tests.receiver import Receiver
from tests.visitors import visiting
from webhooks_app import EventType, emit, registry
from webhooks_app.tenants.access import Role

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("visitors")]

PAGE = "/webhooks/event-types"
SCHEMA = {
    "type": "object",
    "properties": {
        "invoice": {"type": "integer", "minimum": 1},
        "note": {"type": "string", "description": "Free text."},
    },
    "required": ["invoice"],
}
PAID = EventType("invoice.paid", "An invoice was <paid>.", {"invoice": 17}, SCHEMA, group="Invoices")
OLD = EventType("invoice.printed", retired=True, group="Invoices")


@pytest.fixture(autouse=True)
def declared() -> Iterator[None]:
    registry.register(PAID, OLD)
    yield
    registry.unregister([PAID.name, OLD.name])


def page(address: str = PAGE, role: Role = Role.MANAGER, **tenant: Any) -> str:
    answer = visiting(TenantFactory(**tenant), role).get(address)
    assert answer.status_code == 200
    return html.unescape(answer.content.decode())


class TestTheCatalogue:
    def test_shows_types_by_group_whoever_declared_them(self) -> None:
        EventTypeFactory(name="refund.asked", group="Refunds", description="Added by staff.")
        shown = page()
        assert shown.index("Invoices") < shown.index(PAID.name) < shown.index("Refunds") < shown.index("refund.asked")
        assert "Added by staff." in shown

    def test_never_runs_what_a_description_says(self) -> None:
        answer = visiting(TenantFactory()).get(PAGE).content.decode()
        assert "&lt;paid&gt;" in answer
        assert "<paid>" not in answer

    def test_marks_what_is_retired(self) -> None:
        assert "retired" in page(f"{PAGE}?q=printed")
        assert "retired" not in page(f"{PAGE}?q=invoice.paid")

    @pytest.mark.parametrize("query", ["PAID", "invoices", "an invoice was"])
    def test_finds_by_name_group_and_description_without_a_script(self, query: str) -> None:
        EventTypeFactory(name="refund.asked")
        shown = page(f"{PAGE}?q={query}")
        assert PAID.name in shown
        assert "refund.asked" not in shown

    def test_says_when_nothing_fits(self) -> None:
        shown = page(f"{PAGE}?q=zebra")
        assert "No event type has “zebra”" in shown
        assert PAID.name not in shown

    def test_asks_the_database_as_often_for_twenty_types_as_for_two(self) -> None:
        client = visiting(TenantFactory())
        counts = set()
        for number in (2, 20):
            for index in range(number):
                EventTypeFactory(name=f"added.n{index}")
            with CaptureQueriesContext(connection) as queries:
                client.get(PAGE)
            counts.add(len(queries))
        assert len(counts) == 1


class TestAType:
    def test_shows_its_properties_and_its_schema(self) -> None:
        shown = page(f"{PAGE}/{PAID.name}")
        assert "minimum: 1" in shown
        assert "Free text." in shown
        assert json.dumps(SCHEMA, indent=2) in shown

    def test_shows_the_body_and_headers_of_the_tenants_wire_format(self) -> None:
        standard, flat = page(f"{PAGE}/{PAID.name}"), page(f"{PAGE}/{PAID.name}", wire_format="msgflash")
        assert '"data": {' in standard
        assert "webhook-signature" in standard
        assert '"event": "invoice.paid"' in flat
        assert '"data"' not in flat
        assert "X-MsgFlash-Event" in flat

    def test_leads_to_a_new_webhook_for_it(self) -> None:
        link = "/webhooks/endpoints/new?event=invoice.paid"
        assert link in page(f"{PAGE}/{PAID.name}")
        assert re.search(r'value="invoice.paid"[^>]* checked', page(link)), "the event is ticked there"
        assert link not in page(f"{PAGE}/{PAID.name}", Role.VIEWER)
        assert "endpoints/new?" not in page(f"{PAGE}/{OLD.name}")
        form = visiting(TenantFactory()).get(link).context["form"]
        assert (form["which"].value(), form["events"].value()) == ("some", [PAID.name])

    def test_without_an_example_says_so(self) -> None:
        assert "There is no example" in page(f"{PAGE}/{OLD.name}")

    @pytest.mark.parametrize("schema", [True, [], "nonsense", {"properties": 5}])
    def test_that_staff_gave_no_proper_schema_is_shown_all_the_same(self, schema: Any) -> None:
        EventTypeFactory(name="odd.one", schema=schema, example={"a": [1, None]})
        assert json.dumps(schema) in page(f"{PAGE}/odd.one").replace("\n", "").replace("  ", "")

    @pytest.mark.parametrize("name", ["no.such", "%00", "x" * 500, "%ed%a0%80"])
    def test_that_is_none_is_not_found(self, name: str) -> None:
        assert visiting(TenantFactory()).get(f"{PAGE}/{name}").status_code == 404


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("pipeline")
def test_the_example_has_the_headers_and_the_form_of_what_is_really_sent(
    receiver: Receiver, deliver: Callable[[], object]
) -> None:
    endpoint = endpoint_at(receiver, events=["invoice.paid"])
    emit("invoice.paid", {"invoice": 17}, tenant=endpoint.tenant.uid)
    deliver()
    (sent,) = receiver.requests
    shown = visiting(endpoint.tenant).get(f"{PAGE}/{PAID.name}").context
    names = {name.lower() for name, _ in shown["headers"]}
    assert names <= {name.lower() for name in sent.headers}
    assert set(json.loads(shown["body"])) == set(json.loads(sent.body))
