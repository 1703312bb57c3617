"""The list of endpoints, an endpoint's switches, deleting it."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.factories import DeliveryFactory, EndpointFactory, TenantFactory
from tests.visitors import VISITORS, seen, visiting
from webhooks_app.models import Delivery, Endpoint, HourlyStat, Tenant, database_now
from webhooks_app.tenants.access import Role
from webhooks_app.tenants.plan import Plan

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
        for text in (
            endpoint.url,
            "Orders",
            "order.*",
            "99 % succeeded",
            "200 requests in 24 hours, 1 of them failed",
            "chart-failed",
            "failed",
        ):
            assert text in page

    def test_says_why_one_is_off_and_which_fail(self) -> None:
        gone = EndpointFactory(status="disabled", status_reason="gone")
        EndpointFactory(tenant=gone.tenant, queue__consecutive_failures=2, queue__failing_since=database_now("default"))
        page = visiting(gone.tenant).get(HOME).content.decode()
        assert "The receiver answered 410 Gone" in page
        assert ">failing<" in page

    def test_shows_nobody_elses_and_nothing_deleted_or_hidden(self) -> None:
        mine = EndpointFactory()
        others = [
            EndpointFactory(),
            EndpointFactory(tenant=mine.tenant, status="deleted"),
            EndpointFactory(tenant=mine.tenant, kind="callback"),
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
        assert 'value="disable"' in page
        assert 'value="pause"' in page
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


@pytest.mark.parametrize(
    "tail", ["", "/edit", "/rotate", "/delete", "/disable", "/test", "/recover", "/switch", "/end-old-secret"]
)
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
