"""The delivery log's filters: what each leaves, how they are shown and taken away, and what makes no sense."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.delivery_log import LOG, link, page_of, shown, with_channel
from tests.factories import DeliveryFactory, EndpointFactory, EventFactory, TenantFactory
from tests.visitors import seen, visiting
from webhooks_app.models import Delivery, DeliveryStatus, Endpoint
from webhooks_app.models.ids import first_id

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("visitors")]


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


def test_the_chosen_filters_stand_in_the_form() -> None:
    row = DeliveryFactory(endpoint__url="https://a.example/?a=1&b=%22")
    answer = visiting(row.tenant).get(LOG, {"endpoint": row.endpoint.public_id, "status": "pending"})
    page = answer.content.decode()
    assert f'<option value="{row.endpoint.public_id}" selected>https://a.example/?a=1&amp;b=%22</option>' in page
    assert '<option value="pending" selected>pending</option>' in page
    assert page.count(" selected>") == 3  # and any event type
