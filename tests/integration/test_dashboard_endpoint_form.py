"""An endpoint's form: adding one, changing one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.factories import EndpointFactory, EventTypeFactory, TenantFactory
from tests.forms import endpoint_values, header_values, secret_in
from tests.visitors import seen, visiting
from webhooks_app.core.comparisons import OPERATORS
from webhooks_app.models import AuditEntry, Endpoint

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("visitors", "event_types")]

NEW = "/webhooks/endpoints/new"


def place(endpoint: Endpoint, tail: str = "") -> str:
    return f"/webhooks/endpoints/{endpoint.public_id}{tail}"


class TestAdding:
    def test_makes_an_endpoint_with_all_that_was_said(self) -> None:
        tenant = TenantFactory()
        client = visiting(tenant)
        given = {
            "url": "https://example.com/hook",
            "which": "some",
            "events": ["test.happened", "test.other"],
            "patterns": "order.*, message.*",
            "anyway": "on",
            "channels": 'number:1\n\n number:2, number:3  "north west, 4"',
            "filters": '{"data.n": {"gte": 1}}',
            "description": "Orders",
            "rate_limit": "5",
            "max_in_flight": "2",
            "fifo": "on",
            "metadata": '{"team": "blue"}',
            "secret": "whsec_" + "A" * 32,
            **header_values(("X-Token", "s3cret")),
        }
        answer = client.post(NEW, endpoint_values(client, **given))
        assert secret_in(answer.content.decode()) == "whsec_" + "A" * 32
        row = Endpoint.objects.get(tenant=tenant)
        assert row.patterns == ["test.happened", "test.other", "order.*", "message.*"]
        assert row.filters == {"data.n": {"gte": 1}}
        assert (row.url, row.description, row.channels) == (
            given["url"],
            "Orders",
            ["number:1", "number:2", "number:3", "north west, 4"],
        )
        assert (row.rate_limit, row.max_in_flight, row.fifo, row.metadata) == (5, 2, True, {"team": "blue"})
        assert row.custom_headers() == {"X-Token": "s3cret"}
        assert AuditEntry.objects.get(verb="endpoint.created").actor == f"user:{tenant.uid}/manager"

    def test_the_help_lists_every_operator_of_filters(self) -> None:
        page = visiting(TenantFactory()).get(NEW).content.decode()
        for operator in OPERATORS.values():
            assert f"<dt><code>{operator.name}</code></dt><dd>{operator.help}</dd>" in page

    def test_of_all_events_is_one_click(self) -> None:
        tenant = TenantFactory()
        client = visiting(tenant)
        assert client.post(NEW, endpoint_values(client)).status_code == 200
        assert Endpoint.objects.get(tenant=tenant).patterns == ["*"]

    def test_offers_the_catalogue_in_groups_with_families_and_without_what_is_retired(self) -> None:
        EventTypeFactory(name="order.paid", group="Orders", description="Somebody paid.")
        EventTypeFactory(name="order.lost", group="Orders", retired=True)
        page = visiting(TenantFactory()).get(NEW).content.decode()
        for text in ("order.paid", "Somebody paid.", "<legend>Orders</legend>", "test.*"):
            assert text in page
        assert "order.lost" not in page
        assert page.index("<legend>test</legend>") < page.index('value="test.*"') < page.index('value="test.happened"')

    @pytest.mark.parametrize(
        ("field", "value", "says"),
        [
            ("url", "", "This field is required"),
            ("url", "no url", "URL"),
            ("url", "https://10.0.0.1/", "URL"),
            ("which", "other", "Select a valid choice"),
            ("patterns", "no.such.type", "There is no event type"),
            ("patterns", "%%", "is no event type"),
            ("filters", "{nope", "look at line 1, column 2"),
            ("filters", '{"amount": 1}', "begin with &#x27;data.&#x27;"),
            ("filters", "[]", "Filters are an object"),
            ("filters", "[" * 100_000, "a nesting that cannot be sent"),
            ("metadata", '{"a": NaN}', "cannot be sent"),
            ("metadata", r'{"a": "\ud800"}', "cannot be stored"),
            ("metadata", r'{"a": "\u0000"}', "cannot be stored"),
            ("metadata", "[1]", "JSON object"),
            ("channels", "x" * 129, "is no channel"),
            ("rate_limit", "0", "greater than or equal to 1"),
            ("max_in_flight", "999999", "less than or equal to"),
            ("description", "x" * 256, "at most 255 characters"),
            ("secret", "short", "The secret must begin with whsec_. Leave it empty, and one is made for you."),
            ("url", "https://example.com:99999/", "99999 is no port"),
            ("header-0-name", "Host", "set by us"),
            ("header-0-name", "", "Give the header a name"),
            ("header-0-value", "", "Enter the value"),
            ("header-0-value", "ä", "visible ASCII"),
            ("header-TOTAL_FORMS", "x", "ManagementForm"),
        ],
    )
    def test_says_beside_the_field_what_is_wrong(self, field: str, value: str, says: str) -> None:
        tenant = TenantFactory()
        client = visiting(tenant)
        values = {**endpoint_values(client, which="some"), **header_values(("X-A", "1")), "patterns": "test.happened"}
        answer = client.post(NEW, {**values, field: value})
        assert answer.status_code == 422
        assert says in answer.content.decode()
        assert not Endpoint.objects.filter(tenant=tenant).exists()

    def test_needs_a_choice_of_events(self) -> None:
        client = visiting(TenantFactory())
        answer = client.post(NEW, endpoint_values(client, which="some"))
        assert answer.status_code == 422
        assert "Choose at least one event" in answer.content.decode()

    def test_beyond_the_plan_is_refused_above_the_form(self) -> None:
        tenant = TenantFactory(max_endpoints=1)
        EndpointFactory(tenant=tenant)
        client = visiting(tenant)
        assert "your plan allows 1" in client.get(NEW).content.decode()
        answer = client.post(NEW, endpoint_values(client))
        assert answer.status_code == 422
        assert "There are 1 endpoints already" in answer.content.decode()

    @pytest.mark.parametrize(
        ("rows", "wire_format", "says"),
        [
            ((("X-Ok", "1"), ("x-ok", "2")), "", "This header is there already"),
            ((("X-Ok", "1"), ("X-Ok", "2")), "", "This header is there already"),
            ((("X-Muchaw-Signature", "1"),), "muchaw", "carries our signature; choose another name"),
        ],
    )
    def test_says_of_a_header_whether_it_is_there_twice_or_ours(self, rows: Any, wire_format: str, says: str) -> None:
        client = visiting(TenantFactory(wire_format=wire_format))
        answer = client.post(NEW, endpoint_values(client, **header_values(*rows)))
        assert answer.status_code == 422
        assert says in answer.content.decode()

    def test_has_room_for_five_headers_at_once(self) -> None:
        client = visiting(TenantFactory())
        assert client.get(NEW).content.decode().count("X-My-Header") == 5

    def test_asks_once_about_a_family_that_fits_nothing_there_is(self) -> None:
        tenant = TenantFactory()
        client = visiting(tenant)
        assert "Save it anyway" not in client.get(NEW).content.decode()
        values = endpoint_values(client, which="some", patterns="mesage.* test.*")
        answer = client.post(NEW, values)
        page = seen(answer)
        assert answer.status_code == 422
        assert "mesage.* fits none of today’s" in page
        assert 'name="anyway" id="id_anyway"' in page
        assert client.post(NEW, {**values, "anyway": "on"}).status_code == 200
        assert Endpoint.objects.get(tenant=tenant).patterns == ["mesage.*", "test.*"]

    def test_tells_of_another_endpoint_with_this_url(self) -> None:
        tenant = TenantFactory()
        client = visiting(tenant)
        assert "Another endpoint" not in client.post(NEW, endpoint_values(client)).content.decode()
        first = Endpoint.objects.get(tenant=tenant)
        page = client.post(NEW, endpoint_values(client)).content.decode()
        assert "Another endpoint has this URL." in page
        assert place(first) in page

    def test_may_be_tried_again_with_the_same_form(self) -> None:
        tenant = TenantFactory()
        client = visiting(tenant)
        values = endpoint_values(client, url="nonsense")
        assert client.post(NEW, values).status_code == 422
        assert client.post(NEW, {**values, "url": "https://example.com/"}).status_code == 200
        assert Endpoint.objects.filter(tenant=tenant).count() == 1


class TestChanging:
    def test_changes_what_was_changed_and_nothing_else(self) -> None:
        endpoint = EndpointFactory(events=["test.happened"], headers={"X-A": "1"}, metadata={"a": 1})
        client = visiting(endpoint.tenant)
        kept = header_values(stored=(("X-A", "keep", ""),))
        values = {"which": "some", "events": "test.other", "url": endpoint.url, "metadata": '{"a": 1}', **kept}
        answer = client.post(place(endpoint, "/edit"), endpoint_values(client, place(endpoint, "/edit"), **values))
        assert answer["Location"] == place(endpoint, "?done=changed")
        row = Endpoint.objects.get(pk=endpoint.pk)
        assert (row.patterns, row.custom_headers(), row.metadata) == (["test.other"], {"X-A": "1"}, {"a": 1})
        assert AuditEntry.objects.get(verb="endpoint.changed").detail["fields"] == ["events"]

    def test_shows_what_there_is_but_no_header_value(self) -> None:
        endpoint = EndpointFactory(events=["test.happened", "old.type"], headers={"X-Token": "s3cret"}, channels=["a"])
        page = visiting(endpoint.tenant).get(place(endpoint, "/edit")).content.decode()
        assert 'value="test.happened" id="event-test.happened" checked' in page
        assert 'value="old.type" id="event-old.type" checked' in page
        assert "X-Token" in page
        assert "s3cret" not in page

    def test_replaces_and_removes_headers(self) -> None:
        endpoint = EndpointFactory(headers={"X-A": "1", "X-B": "2", "X-C": "3"})
        client = visiting(endpoint.tenant)
        stored = (("X-A", "keep", ""), ("X-B", "replace", "two"), ("X-C", "remove", ""))
        values = {"url": endpoint.url, **header_values(("X-D", "4"), stored=stored)}
        client.post(place(endpoint, "/edit"), endpoint_values(client, place(endpoint, "/edit"), **values))
        assert Endpoint.objects.get(pk=endpoint.pk).custom_headers() == {"X-A": "1", "X-B": "two", "X-D": "4"}

    def test_does_not_send_another_server_the_old_headers(self) -> None:
        endpoint = EndpointFactory(headers={"X-A": "1"})
        client = visiting(endpoint.tenant)
        kept = header_values(stored=(("X-A", "keep", ""),))
        address = place(endpoint, "/edit")
        answer = client.post(address, endpoint_values(client, address, url="https://other.example.com/", **kept))
        assert answer.status_code == 422
        assert "cannot be kept" in answer.content.decode()
        assert Endpoint.objects.get(pk=endpoint.pk).url == endpoint.url

    def test_asks_of_no_family_that_is_there_already(self) -> None:
        endpoint = EndpointFactory(events=["gone.*"], channels=["north west", "a"])
        client = visiting(endpoint.tenant)
        address = place(endpoint, "/edit")
        assert "&quot;north west&quot;\na" in client.get(address).content.decode()
        values = {"url": endpoint.url, "which": "some", "events": "gone.*", "channels": '"north west"\na'}
        answer = client.post(address, endpoint_values(client, address, **values))
        assert answer["Location"] == place(endpoint, "?done=same")

    def test_tells_of_another_endpoint_with_the_new_url(self) -> None:
        endpoint = EndpointFactory(url="https://example.com/a")
        EndpointFactory(tenant=endpoint.tenant, url="https://example.com/b")
        client = visiting(endpoint.tenant)
        address = place(endpoint, "/edit")
        values = endpoint_values(client, address, url="https://example.com/b")
        assert "Another endpoint has this URL" in client.post(address, values, follow=True).content.decode()

    def test_of_nothing_does_nothing(self) -> None:
        endpoint = EndpointFactory()
        client = visiting(endpoint.tenant)
        values = endpoint_values(client, place(endpoint, "/edit"), url=endpoint.url)
        assert client.post(place(endpoint, "/edit"), values)["Location"].endswith("?done=same")
        assert not AuditEntry.objects.exists()
