"""The delivery log: what it shows, its pages, and how it keeps itself up to date."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.delivery_log import LOG, link, page_of, shown, with_channel
from tests.factories import DeliveryFactory, EndpointFactory, TenantFactory
from tests.visitors import seen, visiting
from webhooks_app.deliveries import log as report
from webhooks_app.models import Delivery, DeliveryStatus
from webhooks_app.models.ids import new_id
from webhooks_app.tenants.access import Role

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("visitors")]


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
