"""`WEBHOOKS["LIMITS"]` and plans: endpoints, API keys and new callback hosts of one tenant."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests import api
from tests.api import Program
from tests.factories import EndpointFactory, TenantFactory
from tests.visitors import visiting
from webhooks_app import emit
from webhooks_app.api.problems import status_of
from webhooks_app.endpoints.service import create_endpoint
from webhooks_app.engine.faults import FaultLog
from webhooks_app.events import callback_hosts
from webhooks_app.exceptions import TooManyApiKeys, TooManyCallbackHosts, TooManyEndpoints
from webhooks_app.models import ApiKey, Endpoint, Event, Tenant
from webhooks_app.tenants.api_keys import create_api_key, revoke_api_key
from webhooks_app.tenants.plan import Plan

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("event_types", "visitors")]

no_counts = api.no_counts
NEW = {"url": "https://example.com/hook", "events": ["test.happened"]}
EVENT: dict[str, Any] = {"type": "test.happened", "data": {"n": 1}}


@pytest.fixture(autouse=True)
def no_hosts() -> Iterator[None]:
    callback_hosts.reset()
    yield
    callback_hosts.reset()


def large_plan(tenant: Tenant) -> Plan:
    return Plan(max_endpoints=2, max_api_keys=3, max_callback_hosts_per_hour=4)


def small_plan(tenant: Tenant) -> Plan:
    return Plan(max_endpoints=0, max_api_keys=0, max_callback_hosts_per_hour=0)


def failing_plan(tenant: Tenant) -> Plan:
    raise KeyError(tenant.uid)


def an_endpoint(tenant: Any = "acme") -> None:
    create_endpoint(tenant, url="https://example.com/", events=["*"])


def an_event(host: str, tenant: Any = "acme", **values: Any) -> Event:
    return emit(EVENT["type"], EVENT["data"], tenant=tenant, callback_url=f"https://{host}/callback", **values)


class TestEndpoints:
    def test_have_a_limit_without_a_plan(self, configure: Any) -> None:
        configure(LIMITS={"ENDPOINTS": 1})
        an_endpoint()
        an_endpoint("another")
        with pytest.raises(TooManyEndpoints, match=r"There are 1 endpoints already.*Delete one first"):
            an_endpoint()

    def test_have_none_with_0(self, configure: Any) -> None:
        configure(LIMITS={"ENDPOINTS": 0})
        for _ in range(3):
            an_endpoint()

    def test_have_a_default_limit_of_500(self) -> None:
        tenant = TenantFactory()
        Endpoint.objects.bulk_create(
            Endpoint(tenant=tenant, url=f"https://example.com/{number}", wire_format="standard")
            for number in range(500)
        )
        with pytest.raises(TooManyEndpoints):
            an_endpoint(tenant)

    def test_of_a_tenant_s_row_or_plan_come_first(self, configure: Any) -> None:
        configure(LIMITS={"ENDPOINTS": 1})
        tenant = TenantFactory(max_endpoints=2)
        EndpointFactory.create_batch(2, tenant=tenant)
        with pytest.raises(TooManyEndpoints, match="There are 2 endpoints"):
            an_endpoint(tenant)
        configure(PLAN=f"{__name__}.large_plan")
        an_endpoint()
        an_endpoint()
        configure(PLAN=f"{__name__}.small_plan")
        with pytest.raises(TooManyEndpoints):
            an_endpoint("another")

    def test_beyond_the_limit_are_refused_by_the_api_and_the_form(self, configure: Any) -> None:
        configure(LIMITS={"ENDPOINTS": 1})
        program = Program()
        program.post("/webhooks", NEW)
        assert program.refused("post", "/webhooks", NEW) == (403, "MAX_WEBHOOK_ENDPOINTS_REACHED", None)
        page = visiting(program.tenant).get("/webhooks/endpoints/new").content.decode()
        assert "your plan allows 1" in page


class TestApiKeys:
    def test_have_a_limit_that_revoked_ones_do_not_count_in(self, configure: Any) -> None:
        configure(LIMITS={"API_KEYS": 1})
        key, _ = create_api_key("acme")
        create_api_key("another")
        with pytest.raises(
            TooManyApiKeys, match=r"You have reached the limit of 1 API keys. Revoke one first"
        ) as caught:
            create_api_key("acme")
        assert (status_of(caught.value), caught.value.code) == (403, "MAX_API_KEYS_REACHED")
        revoke_api_key(key)
        create_api_key("acme")

    def test_have_a_default_limit_of_100(self) -> None:
        tenant = TenantFactory()
        ApiKey.objects.bulk_create(ApiKey(tenant=tenant, digest=f"{number}", scopes=[]) for number in range(100))
        with pytest.raises(TooManyApiKeys):
            create_api_key(tenant)

    def test_have_the_limit_of_the_plan(self, configure: Any) -> None:
        configure(PLAN=f"{__name__}.large_plan", LIMITS={"API_KEYS": 1})
        for _ in range(3):
            create_api_key("acme")
        with pytest.raises(TooManyApiKeys):
            create_api_key("acme")

    def test_beyond_the_limit_are_refused_by_the_form_and_the_command(self, configure: Any) -> None:
        configure(LIMITS={"API_KEYS": 1})
        tenant = TenantFactory()
        create_api_key(tenant)
        client = visiting(tenant)
        form = {"form_id": client.get("/webhooks/keys/new").context["form_id"], "name": "CI", "expires": "never"}
        answer = client.post("/webhooks/keys/new", {**form, "scopes": ["events:write"]})
        assert answer.status_code == 422
        assert "You have reached the limit of 1 API keys" in answer.content.decode()
        with pytest.raises(CommandError, match="You have reached the limit of 1 API keys"):
            call_command("webhooks_api_key", "create", "--tenant", tenant.uid)
        assert ApiKey.objects.count() == 1


class TestNewCallbackHosts:
    def test_are_limited_for_each_tenant(self, configure: Any) -> None:
        configure(LIMITS={"CALLBACK_HOSTS_PER_HOUR": 2})
        for host in ("a.example", "b.example", "a.example"):
            an_event(host)
        with pytest.raises(TooManyCallbackHosts, match="2 new hosts within an hour") as caught:
            an_event("c.example")
        assert caught.value.field == "callback_url"
        an_event("b.example")
        an_event("c.example", tenant="another")

    def test_are_as_many_as_the_default_says(self) -> None:
        for number in range(100):
            an_event(f"host-{number}.example")
        with pytest.raises(TooManyCallbackHosts):
            an_event("one-more.example")

    def test_are_no_longer_counted_after_an_hour(self, configure: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        configure(LIMITS={"CALLBACK_HOSTS_PER_HOUR": 1})
        an_event("a.example")
        later = SimpleNamespace(monotonic=lambda: time.monotonic() + 3601)
        monkeypatch.setattr(callback_hosts, "time", later)
        an_event("b.example")

    def test_are_those_without_a_callback_endpoint(self, configure: Any) -> None:
        configure(LIMITS={"CALLBACK_HOSTS_PER_HOUR": 1})
        tenant = TenantFactory()
        EndpointFactory(tenant=tenant, kind="callback", url="https://known.example/earlier")
        EndpointFactory(tenant=tenant, kind="callback", url="https://known.example.net/earlier")
        an_event("a.example", tenant)
        an_event("known.example", tenant)
        for host in ("known.example.ne", "known.exampl", "known.example:444"):
            configure(ALLOWED_PORTS=[443, 444])
            with pytest.raises(TooManyCallbackHosts):
                an_event(host, tenant)

    def test_in_one_batch_count_together_and_none_is_stored(self, configure: Any) -> None:
        configure(LIMITS={"CALLBACK_HOSTS_PER_HOUR": 2})
        program = Program()
        events = [{**EVENT, "callback_url": f"https://host-{number}.example/"} for number in range(3)]
        response = program("post", "/events/batch", {"events": events})
        assert (response.status_code, response["Retry-After"]) == (429, "600")
        problem = response.json()
        assert (problem["code"], problem["field"]) == ("TOO_MANY_CALLBACK_HOSTS", "callback_url")
        assert "Try again later" in problem["detail"]
        assert not Event.objects.exists()

    def test_beyond_the_limit_do_not_end_the_host_s_transaction_in_production(self, configure: Any) -> None:
        configure(LIMITS={"CALLBACK_HOSTS_PER_HOUR": 1}, STRICT=False)
        an_event("a.example")
        event = an_event("b.example")
        assert "new hosts within an hour" in event.quarantine_reason

    def test_have_the_limit_of_the_plan(self, configure: Any) -> None:
        configure(PLAN=f"{__name__}.large_plan", LIMITS={"CALLBACK_HOSTS_PER_HOUR": 1})
        tenant = TenantFactory()
        for number in range(4):
            an_event(f"host-{number}.example", tenant)
        with pytest.raises(TooManyCallbackHosts):
            an_event("one-more.example", tenant)
        configure(PLAN=f"{__name__}.small_plan")
        with pytest.raises(TooManyCallbackHosts):
            an_event("a.example", TenantFactory())

    @pytest.mark.parametrize("strict", [True, False])
    def test_have_the_usual_limit_if_the_plan_cannot_be_found_out(
        self, configure: Any, strict: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        configure(PLAN=f"{__name__}.failing_plan", LIMITS={"CALLBACK_HOSTS_PER_HOUR": 2}, STRICT=strict)
        monkeypatch.setattr(callback_hosts, "_faults", FaultLog())
        tenant = TenantFactory()
        for name in ("a.example", "b.example"):
            event = an_event(name, tenant)
            assert not event.quarantine_reason
            assert name in event.callback_url
        assert len([record for record in caplog.records if "PLAN failed" in record.message]) == 1
        if strict:
            with pytest.raises(TooManyCallbackHosts):
                an_event("c.example", tenant)

    def test_have_no_limit_with_0(self, configure: Any) -> None:
        configure(LIMITS={"CALLBACK_HOSTS_PER_HOUR": 0})
        for number in range(150):
            an_event(f"host-{number}.example")

    def test_that_were_named_before_cost_no_query(self) -> None:
        an_event("a.example")
        with CaptureQueriesContext(connection) as queries:
            an_event("a.example")
        assert not [query for query in queries if "SELECT" in query["sql"]]

    def test_are_forgotten_beyond_a_number(self, configure: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        configure(LIMITS={"CALLBACK_HOSTS_PER_HOUR": 0})
        monkeypatch.setattr(callback_hosts, "_MOST_KEPT", 10)
        for number in range(25):
            an_event(f"host-{number}.example")
        assert len(callback_hosts._seen) <= 10
