"""The delivery log: what it shows, its filters, its pages, and how it keeps itself up to date."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.factories import DeliveryFactory, EndpointFactory, EventFactory, TenantFactory
from tests.visitors import seen, visiting
from webhooks_app.deliveries import log as report
from webhooks_app.models import Delivery, DeliveryStatus, Endpoint, EventChannel
from webhooks_app.models.ids import first_id, new_id
from webhooks_app.tenants.access import Role

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("visitors")]

LOG = "/webhooks/deliveries"


def page_of(client: Client, address: str = LOG, **query: str) -> str:
    answer = client.get(address, query)
    assert answer.status_code == 200
    return seen(answer)


def shown(page: str) -> list[str]:
    """The public ids of the log's rows, as they stand."""
    return re.findall(r'id="to-(dlv_[0-9a-f]{32})"', page)


def link(page: str, title: str) -> str:
    """Where the link with this text leads."""
    found = re.search(rf'href="([^"]*)"[^>]*>{re.escape(title)}<', page)
    assert found, f"no link {title!r}"
    return LOG + found[1]


def with_channel(delivery: Delivery, channel: str) -> Delivery:
    EventChannel.objects.create(tenant_id=delivery.tenant_id, event_id=delivery.event_id, channel=channel)
    return delivery


class TestTheLog:
    def test_leads_to_no_endpoints_page_where_there_is_none(self) -> None:
        row = DeliveryFactory(endpoint__kind="callback")
        client = visiting(row.tenant)
        for page in (page_of(client), page_of(client, f"{LOG}/{row.public_id}")):
            assert f"<code>{row.endpoint.url}</code>" in page
            assert f"/webhooks/endpoints/{row.endpoint.public_id}" not in page

    def test_teaches_what_to_do_where_nothing_was_sent(self) -> None:
        page = page_of(visiting(TenantFactory()))
        assert "Nothing was sent yet" in page
        assert 'href="/webhooks/playground"' in page

    def test_says_of_each_delivery_what_became_of_it_newest_first(self) -> None:
        endpoint = EndpointFactory()
        rows = [DeliveryFactory(endpoint=endpoint, **trait) for trait in ({}, {"exhausted": True}, {"succeeded": True})]
        page = page_of(visiting(endpoint.tenant))
        assert shown(page) == [row.public_id for row in reversed(rows)]
        for row in rows:
            assert row.event.public_id in page
        assert endpoint.url in page
        assert "500 Server error" in page
        assert "200 Accepted" in page

    def test_is_of_one_tenant_alone(self) -> None:
        mine, theirs = DeliveryFactory(), DeliveryFactory()
        assert shown(page_of(visiting(mine.tenant))) == [mine.public_id]
        answer = visiting(mine.tenant).get(LOG, {"endpoint": theirs.endpoint.public_id})
        assert answer.status_code == 422
        assert theirs.endpoint.url not in seen(answer)

    def test_escapes_what_others_wrote(self) -> None:
        row = DeliveryFactory(endpoint__url="https://a.example/<script>alert(1)</script>", event__type="<b>x</b>")
        page = visiting(row.tenant).get(LOG).content.decode()
        assert "<script>alert" not in page
        assert "<b>x" not in page

    def test_has_no_buttons_for_viewers(self) -> None:
        row = DeliveryFactory(exhausted=True)
        assert "Retry all failed" in page_of(visiting(row.tenant))
        assert "Retry all failed" not in page_of(visiting(row.tenant, Role.VIEWER))

    def test_offers_to_retry_what_failed_only_where_something_may_have(self) -> None:
        row = DeliveryFactory(succeeded=True)
        client = visiting(row.tenant)
        assert "Retry all failed" not in page_of(client)
        DeliveryFactory(endpoint=row.endpoint, exhausted=True)
        offered = {status: "Retry all failed" in page_of(client, status=status) for status in DeliveryStatus.values}
        assert [status for status, is_offered in offered.items() if is_offered] == ["exhausted"]
        assert "Retry all failed" in page_of(client)

    def test_names_events_by_the_hosts_own_id_where_there_is_one(self) -> None:
        row = DeliveryFactory(event__subject="<order> 7")
        assert f'title="{row.event.public_id}"><order> 7</a>' in page_of(visiting(row.tenant))

    @pytest.mark.parametrize("query", [{}, {"type": "message.sent"}, {"channel": "a"}, {"status": "exhausted"}])
    def test_costs_as_many_queries_for_many_rows_as_for_few(self, query: dict[str, str]) -> None:
        endpoint = EndpointFactory()
        client = visiting(endpoint.tenant)
        counts = []
        for _ in range(2):
            for _ in range(2 if not counts else 18):
                with_channel(DeliveryFactory(endpoint=EndpointFactory(tenant=endpoint.tenant), exhausted=True), "a")
            with CaptureQueriesContext(connection) as queries:
                page_of(client, **query)
            counts.append(len(queries))
        assert counts[0] == counts[1]


class TestFilters:
    def test_that_cannot_be_keep_the_way_to_others_and_to_everything(self) -> None:
        answer = visiting(TenantFactory()).get(LOG, {"status": "bogus", "type": "a.b"})
        page = seen(answer)
        assert answer.status_code == 422
        assert "There is no such status." in page
        assert link(page, "Failed") == f"{LOG}?type=a.b&status=exhausted"
        assert link(page, "Show everything") == f"{LOG}?"
        assert 'aria-current="page">All<' not in page

    @pytest.fixture
    def endpoint(self) -> Endpoint:
        return EndpointFactory()

    @pytest.mark.parametrize("status", DeliveryStatus.values)
    def test_by_status(self, endpoint: Endpoint, status: str) -> None:
        rows = {each: DeliveryFactory(endpoint=endpoint, status=each) for each in DeliveryStatus.values}
        assert shown(page_of(visiting(endpoint.tenant), status=status)) == [rows[status].public_id]

    def test_by_endpoint_also_a_deleted_one(self, endpoint: Endpoint) -> None:
        DeliveryFactory(endpoint=endpoint)
        other = DeliveryFactory(endpoint=EndpointFactory(tenant=endpoint.tenant, status="deleted"))
        page = page_of(visiting(endpoint.tenant), endpoint=other.endpoint.public_id)
        assert shown(page) == [other.public_id]

    def test_by_type_and_channel_and_all_at_once(self, endpoint: Endpoint) -> None:
        def made(kind: str, channel: str) -> Delivery:
            event = EventFactory(tenant=endpoint.tenant, type=kind)
            return with_channel(DeliveryFactory(endpoint=endpoint, event=event, exhausted=True), channel)

        rows = [made(kind, channel) for kind in ("a.x", "a.y") for channel in ("number:1", "number:2")]
        client = visiting(endpoint.tenant)
        ids = [row.public_id for row in rows]
        assert shown(page_of(client, type="a.x")) == [ids[1], ids[0]]
        assert shown(page_of(client, channel="number:2")) == [ids[3], ids[1]]
        every = {"type": "a.y", "channel": "number:1", "status": "exhausted", "endpoint": endpoint.public_id}
        assert shown(page_of(client, **every)) == [ids[2]]

    def test_by_time_as_the_readers_clock_shows_it(self, endpoint: Endpoint) -> None:
        moments = [datetime(2026, 7, 1, hour, tzinfo=UTC) for hour in (10, 12, 14)]
        rows = [DeliveryFactory(endpoint=endpoint, pk=first_id(moment)) for moment in moments]
        client = visiting(endpoint.tenant)
        client.cookies["webhooks_timezone"] = "Europe/Paris"  # two hours later than UTC
        page = page_of(client, since="2026-07-01T13:00", until="2026-07-01T15:30")
        assert shown(page) == [rows[1].public_id]

    def test_each_is_shown_and_can_be_taken_away(self, endpoint: Endpoint) -> None:
        DeliveryFactory(endpoint=endpoint)
        page = page_of(visiting(endpoint.tenant), status="pending", type="message.sent")
        assert '<a href="?type=message.sent"><span class="unseen">Remove the filter </span>Status' in page
        assert '<a href="?status=pending"><span class="unseen">Remove the filter </span>Event type' in page

    @pytest.mark.parametrize(
        "query",
        [
            {"since": "yesterday"},
            {"until": "0001-01-01T00:00"},
            {"since": "99999-01-01T00:00"},
            {"status": "lost"},
            {"endpoint": "wh_x"},
            {"channel": "\x00"},
            {"type": "x" * 999},
        ],
    )
    def test_one_that_makes_no_sense_is_named(self, endpoint: Endpoint, query: dict[str, str]) -> None:
        answer = visiting(endpoint.tenant).get(LOG, query)
        assert answer.status_code == 422
        assert f'id="filter_{next(iter(query))}_error"' in answer.content.decode()

    def test_that_nothing_fits_say_so(self, endpoint: Endpoint) -> None:
        DeliveryFactory(endpoint=endpoint)
        assert "Nothing fits these filters" in page_of(visiting(endpoint.tenant), status="exhausted")


class TestPages:
    @pytest.fixture(autouse=True)
    def _small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(report, "PAGE", 3)
        monkeypatch.setattr(report.DeliveryLog.page, "__kwdefaults__", {"before": None, "after": None, "size": 3})

    def test_lead_to_the_oldest_and_back_with_every_row_once(self) -> None:
        endpoint = EndpointFactory()
        ids = [DeliveryFactory(endpoint=endpoint).public_id for _ in range(8)][::-1]
        client = visiting(endpoint.tenant)
        first = page_of(client)
        second = page_of(client, link(first, "Older"))
        third = page_of(client, link(second, "Older"))
        assert [*shown(first), *shown(second), *shown(third)] == ids
        assert ">Older<" not in third
        assert ">Newer<" not in first
        assert shown(page_of(client, link(third, "Newer"))) == ids[3:6]
        assert shown(page_of(client, link(second, "Newer"))) == ids[:3]

    @pytest.mark.parametrize("wanted", [{"type": "rare"}, {"channel": "rare"}, {"status": "succeeded"}])
    def test_of_what_is_rare_end_after_a_bounded_look_and_go_on_from_there(
        self, monkeypatch: pytest.MonkeyPatch, wanted: dict[str, str]
    ) -> None:
        monkeypatch.setattr(report, "LOOKED_AT", 4)
        monkeypatch.setattr(report, "_FEW_EVENTS", 0)
        endpoint = EndpointFactory()
        rare = DeliveryFactory(endpoint=endpoint, succeeded=True, event__type="rare")
        with_channel(rare, "rare")
        for _ in range(9):
            DeliveryFactory(endpoint=endpoint)
        client = visiting(endpoint.tenant)
        page = page_of(client, **wanted)
        for _ in range(2):
            assert shown(page) == []
            assert "None among those looked at" in page
            page = page_of(client, link(page, "Look further back"))
        assert shown(page) == [rare.public_id]
        assert "further back" not in page
        assert ">Newer<" in page

    def test_a_channel_of_few_events_is_found_however_far_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(report, "LOOKED_AT", 2)
        endpoint = EndpointFactory()
        rare = with_channel(DeliveryFactory(endpoint=endpoint), "rare")
        for _ in range(5):
            DeliveryFactory(endpoint=endpoint)
        assert shown(page_of(visiting(endpoint.tenant), channel="rare")) == [rare.public_id]

    @pytest.mark.parametrize("place", ["", "nonsense", "dlv_", "0" * 32, "f" * 32, "\x00"])
    def test_a_made_up_place_harms_nothing(self, place: str) -> None:
        client = visiting(DeliveryFactory().tenant)
        for name in ("before", "after"):
            assert client.get(LOG, {name: place}).status_code == 200


class TestUpdates:
    def next_look(self, page: str) -> str:
        found = re.search(r'hx-get="([^"]*)"', page)
        assert found
        return found[1]

    def test_bring_what_is_new_and_say_it_once(self) -> None:
        endpoint = EndpointFactory()
        old = DeliveryFactory(endpoint=endpoint)
        client = visiting(endpoint.tenant)
        look = self.next_look(page_of(client))
        new = DeliveryFactory(endpoint=endpoint)
        part = page_of(client, look)
        assert shown(part) == [new.public_id, old.public_id]
        assert "<html" not in part
        assert "1 new delivery since" in part
        Delivery.objects.filter(pk=old.pk).update(status="cancelled")
        again = page_of(client, self.next_look(part))
        assert "since" not in again

    def test_make_another_page_of_an_empty_one(self) -> None:
        endpoint = EndpointFactory()
        client = visiting(endpoint.tenant)
        look = self.next_look(page_of(client))
        DeliveryFactory(endpoint=endpoint)
        assert client.get(look)["HX-Refresh"] == "true"

    def test_change_nothing_where_nothing_changed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        moment = datetime(2026, 7, 1, 12, tzinfo=UTC)
        monkeypatch.setattr("django.utils.timezone.now", lambda: moment)
        row = DeliveryFactory()
        client = visiting(row.tenant)
        look = self.next_look(page_of(client))
        assert client.get(look).status_code == 204
        moment += timedelta(minutes=1)  # "a minute ago" is two now
        assert client.get(look).status_code == 200

    def test_can_be_paused_and_are_not_made_on_later_pages(self) -> None:
        row = DeliveryFactory()
        client = visiting(row.tenant)
        page = page_of(client)
        paused = page_of(client, link(page, "Pause"))
        assert "hx-get" not in paused
        assert "hx-get" in page_of(client, link(paused, "Resume"))
        assert "hx-get" not in page_of(client, before=new_id().hex)

    def test_send_the_page_to_log_in_when_somebody_was_logged_out(self) -> None:
        answer = Client().get(LOG, {"live": "rows"}, headers={"HX-Request": "true"})
        assert (answer.status_code, answer["HX-Refresh"]) == (401, "true")


def test_the_chosen_filters_stand_in_the_form() -> None:
    row = DeliveryFactory(endpoint__url="https://a.example/?a=1&b=%22")
    answer = visiting(row.tenant).get(LOG, {"endpoint": row.endpoint.public_id, "status": "pending"})
    page = answer.content.decode()
    assert f'<option value="{row.endpoint.public_id}" selected>https://a.example/?a=1&amp;b=%22</option>' in page
    assert '<option value="pending" selected>pending</option>' in page
    assert page.count(" selected>") == 3  # and any event type
