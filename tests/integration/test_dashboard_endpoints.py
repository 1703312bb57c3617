"""The list of endpoints, adding one, changing one, its switches, deleting it."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.factories import DeliveryFactory, EndpointFactory, EventTypeFactory, TenantFactory
from tests.forms import endpoint_values, header_values, secret_in
from tests.visitors import VISITORS, seen, visiting
from webhooks_app.actions.people import Role
from webhooks_app.actions.plan import Plan
from webhooks_app.models import AuditEntry, Delivery, Endpoint, HourlyStat, Tenant, database_now

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("visitors", "event_types")]

HOME = "/webhooks/"
NEW = "/webhooks/endpoints/new"


def place(endpoint: Endpoint, tail: str = "") -> str:
    return f"/webhooks/endpoints/{endpoint.public_id}{tail}"


def no_webhooks(tenant: Tenant) -> Plan:
    return Plan(available=False)


class TestTheList:
    def test_teaches_the_first_step_where_it_is_empty(self) -> None:
        page = visiting(TenantFactory()).get(HOME).content.decode()
        assert "No endpoint yet" in page
        assert NEW in page

    def test_shows_how_each_endpoint_is_doing(self) -> None:
        endpoint = EndpointFactory(description="Orders", events=["order.*"])
        DeliveryFactory(endpoint=endpoint, exhausted=True)
        hour = database_now("default").replace(minute=0, second=0, microsecond=0)
        HourlyStat.objects.create(endpoint=endpoint, hour=hour, succeeded=199, server_error=1)
        page = seen(visiting(endpoint.tenant).get(HOME))
        for text in (endpoint.url, "Orders", "order.*", "99 % succeeded", "200 requests in 24 hours", "failed"):
            assert text in page

    def test_says_why_one_is_off_and_which_fail(self) -> None:
        gone = EndpointFactory(status="disabled", status_reason="gone")
        EndpointFactory(tenant=gone.tenant, queue__streak=2, queue__failing_since=database_now("default"))
        page = visiting(gone.tenant).get(HOME).content.decode()
        assert "The receiver answered 410 Gone" in page
        assert ">failing<" in page

    def test_shows_nobody_elses_and_nothing_deleted_or_hidden(self) -> None:
        mine = EndpointFactory()
        others = [
            EndpointFactory(),
            EndpointFactory(tenant=mine.tenant, status="deleted"),
            EndpointFactory(tenant=mine.tenant, hidden=True),
        ]
        page = seen(visiting(mine.tenant).get(HOME))
        assert mine.url in page
        assert not [one.url for one in others if one.url in page]

    def test_has_pages_of_fifty(self) -> None:
        tenant = TenantFactory()
        urls = [EndpointFactory(tenant=tenant).url for _ in range(53)]
        client = visiting(tenant)
        first = client.get(HOME)
        assert [url for url in urls if url in seen(first)] == urls[3:]
        older = seen(client.get(f"{HOME}?before={first.context['slice'].older}"))
        assert [url for url in urls if f"<code>{url}<" in older] == urls[:3]
        assert client.get(f"{HOME}?before=nonsense").status_code == 404

    def test_costs_the_same_however_many_there_are(self) -> None:
        def queries(number: int) -> int:
            tenant = TenantFactory()
            for _ in range(number):
                DeliveryFactory(endpoint=EndpointFactory(tenant=tenant))
            client = visiting(tenant)
            with CaptureQueriesContext(
                connection,
            ) as captured:
                client.get(HOME)
            return len(captured)

        assert queries(2) == queries(20) < 15

    def test_says_what_the_plan_allows(self, configure: Any) -> None:
        tenant = TenantFactory(max_endpoints=3)
        EndpointFactory(tenant=tenant)
        assert "You use 1 of 3 endpoints" in visiting(tenant).get(HOME).content.decode()
        configure(**VISITORS, PLAN=f"{__name__}.no_webhooks")
        page = visiting(tenant).get(HOME).content.decode()
        assert "not part of your plan" in page
        assert NEW not in page


class TestAdding:
    def test_makes_an_endpoint_with_all_that_was_said(self) -> None:
        tenant = TenantFactory()
        client = visiting(tenant)
        given = {
            "url": "https://example.com/hook",
            "which": "some",
            "events": ["test.happened", "test.other"],
            "patterns": "order.*, message.*",
            "channels": "number:1\n\n number:2 ",
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
        assert {one.filters["data.n"]["gte"] for one in row.subscriptions.all()} == {1}
        assert (row.url, row.description, row.channels) == (given["url"], "Orders", ["number:1", "number:2"])
        assert (row.rate_limit, row.max_in_flight, row.fifo, row.metadata) == (5, 2, True, {"team": "blue"})
        assert row.custom_headers() == {"X-Token": "s3cret"}
        assert AuditEntry.objects.get(verb="endpoint.created").actor == f"user:{tenant.uid}/manager"

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
        ("rows", "profile", "says"),
        [
            ((("X-Ok", "1"), ("x-ok", "2")), "", "This header is there already"),
            ((("X-Ok", "1"), ("X-Ok", "2")), "", "This header is there already"),
            ((("X-Muchaw-Signature", "1"),), "muchaw", "carries our signature; choose another name"),
        ],
    )
    def test_says_of_a_header_whether_it_is_there_twice_or_ours(self, rows: Any, profile: str, says: str) -> None:
        client = visiting(TenantFactory(profile=profile))
        answer = client.post(NEW, endpoint_values(client, **header_values(*rows)))
        assert answer.status_code == 422
        assert says in answer.content.decode()

    def test_has_room_for_five_headers_at_once(self) -> None:
        client = visiting(TenantFactory())
        assert client.get(NEW).content.decode().count("X-My-Header") == 5

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

    def test_of_nothing_does_nothing(self) -> None:
        endpoint = EndpointFactory()
        client = visiting(endpoint.tenant)
        values = endpoint_values(client, place(endpoint, "/edit"), url=endpoint.url)
        assert client.post(place(endpoint, "/edit"), values)["Location"].endswith("?done=same")
        assert not AuditEntry.objects.exists()


class TestSwitches:
    def test_pause_resume_disable_and_enable(self) -> None:
        endpoint = EndpointFactory()
        client = visiting(endpoint.tenant)
        for act, status in (("pause", "paused"), ("resume", "active"), ("disable", "disabled"), ("enable", "active")):
            answer = client.post(place(endpoint, "/switch"), {"act": act}, follow=True)
            assert answer.status_code == 200
            assert 'role="status"' in answer.content.decode()
            assert Endpoint.objects.get(pk=endpoint.pk).status == status

    def test_disabling_asks_first_and_says_what_pausing_does_instead(self) -> None:
        endpoint = EndpointFactory()
        client = visiting(endpoint.tenant)
        assert 'value="disable"' not in client.get(place(endpoint)).content.decode(), "not in one click"
        page = seen(client.get(place(endpoint, "/disable")))
        assert "new events are not kept for it" in page
        assert "Paused instead, new events wait" in page
        assert 'value="disable"' in page and 'value="pause"' in page
        assert Endpoint.objects.get(pk=endpoint.pk).status == "active"

    def test_disabling_is_not_asked_about_where_it_is_done_already(self) -> None:
        endpoint = EndpointFactory(status="disabled")
        client = visiting(endpoint.tenant)
        assert client.get(place(endpoint, "/disable")).status_code == 302
        assert place(endpoint, "/disable") not in client.get(place(endpoint)).content.decode()

    @pytest.mark.parametrize(("act", "status"), [("resume", 409), ("nonsense", 404), ("", 404)])
    def test_what_is_not_possible_is_said(self, act: str, status: int) -> None:
        endpoint = EndpointFactory(status="disabled")
        assert visiting(endpoint.tenant).post(place(endpoint, "/switch"), {"act": act}).status_code == status

    def test_deleting_says_first_what_becomes_of_what_waits(self) -> None:
        endpoint = EndpointFactory()
        DeliveryFactory.create_batch(2, endpoint=endpoint)
        client = visiting(endpoint.tenant)
        assert "2 deliveries wait for it. They are cancelled" in client.get(place(endpoint, "/delete")).content.decode()
        assert client.post(place(endpoint, "/delete"))["Location"] == f"{HOME}?done=deleted"
        assert set(Delivery.objects.values_list("status", flat=True)) == {"cancelled"}
        assert "Deleted" in client.get(place(endpoint)).content.decode(), "its history stays readable"
        assert client.get(place(endpoint, "/edit")).status_code == 404


@pytest.mark.parametrize("tail", ["", "/edit", "/rotate", "/delete", "/disable", "/test", "/recover", "/switch", "/end-old-secret"])
class TestWhoMay:
    def test_another_tenants_endpoint_is_not_there(self, tail: str) -> None:
        endpoint = EndpointFactory()
        client = visiting(TenantFactory())
        for answer in (client.get(place(endpoint, tail)), client.post(place(endpoint, tail), {"act": "pause"})):
            assert answer.status_code in (404, 405)
            assert endpoint.url not in seen(answer)
        assert Endpoint.objects.get(pk=endpoint.pk).status == "active"

    def test_viewers_look_and_do_not_touch(self, tail: str) -> None:
        endpoint = EndpointFactory()
        client = visiting(endpoint.tenant, Role.VIEWER)
        answer = client.get(place(endpoint, tail))
        assert answer.status_code == 200 if not tail else answer.status_code in (403, 405)
        page = answer.content.decode()
        assert 'action="/webhooks/endpoints' not in page
        assert "/edit" not in page
