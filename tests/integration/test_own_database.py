"""The app's tables in a database of their own: every page, every API and the engine use it, for reads and for writes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.test import Client
from django.urls import URLPattern, get_resolver, reverse

from tests.apart import APP_DATABASE
from tests.api import ROOT, Program
from tests.factories import DeliveryFactory, EndpointFactory
from tests.forms import endpoint_values
from tests.receiver import Receiver
from tests.staff import action_page, one_of_everything, page, pages, superuser
from tests.visitors import visiting
from webhooks_app import change_tenant, emit, erase_event, erase_subject, erase_tenant, export_tenant
from webhooks_app.endpoints.service import create_endpoint
from webhooks_app.engine.sweep import repair
from webhooks_app.maintenance.prune import prune
from webhooks_app.models import Attempt, Delivery, Endpoint, Tenant, database_now
from webhooks_app.models.database import AppQuerySet
from webhooks_app.playground.service import open_playground
from webhooks_app.telemetry.installation_state import read_installation_state

pytestmark = [
    pytest.mark.usefixtures("app_database", "visitors", "event_types"),
    pytest.mark.django_db(databases=["default", APP_DATABASE], transaction=True),
]

MODELS = list(apps.get_app_config("webhooks_app").get_models())


@pytest.fixture(autouse=True)
def nothing_strays(strays: list[str]) -> Iterator[None]:
    yield
    assert strays == []


@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_read_where_it_is_written(model: Any) -> None:
    for manager in (model._default_manager, model._base_manager):
        assert isinstance(manager.all(), AppQuerySet)
        assert manager.all().db == APP_DATABASE


def test_related_rows_are_read_there_too() -> None:
    delivery = Delivery.objects.get(pk=DeliveryFactory().pk)
    assert delivery.endpoint.queue.endpoint.tenant.deliveries.get() == delivery
    [again] = Delivery.objects.prefetch_related("endpoint__subscriptions", "tenant")
    assert again.endpoint.patterns == delivery.endpoint.patterns
    delivery.refresh_from_db()
    assert {row._state.db for row in (delivery, delivery.endpoint, delivery.tenant, again.endpoint)} == {APP_DATABASE}


def test_the_admins_pages() -> None:
    client = superuser()
    for row in one_of_everything():
        name = row._meta.model_name
        for url in (pages(name), page(row), page(row, "history"), f"{pages(name)}?q=customer"):
            assert client.get(url).status_code == 200, url
    assert client.get(reverse("admin:webhooks_app_operations")).status_code == 200


def test_saving_in_the_admin() -> None:
    client, endpoint = superuser(), EndpointFactory()
    new = {"uid": "new", "name": "New", "webhooks_enabled": "on"}
    assert client.post(pages("tenant", "add"), new).status_code == 302
    assert client.post(page(Tenant.objects.get(uid="new")), {**new, "name": "Newer"}).status_code == 302
    assert Tenant.objects.get(uid="new").name == "Newer"
    key = {"tenant": endpoint.tenant_id, "name": "CI", "scopes": ["events:write"]}
    assert client.post(pages("apikey", "add"), key).status_code == 200  # shown once
    assert endpoint.tenant.api_keys.get().name == "CI"
    assert client.post(action_page(endpoint, "pause"), {"confirmed": "yes"}).status_code in (200, 302)


def test_the_customers_pages() -> None:
    rows = {row._meta.model_name: row for row in one_of_everything()}
    client = visiting(rows["tenant"])
    open_playground(rows["tenant"])
    assert client.post("/webhooks/endpoints/new", endpoint_values(client)).status_code == 200
    assert Endpoint.objects.filter(tenant=rows["tenant"]).count() == 3
    for address in addresses(rows):
        assert client.get(f"/webhooks/{address}").status_code in (200, 302, 405), address
    for address in addresses(rows):
        assert client.post(f"/webhooks/{address}").status_code < 500, address
    switch = f"/webhooks/endpoints/{rows['endpoint'].public_id}/switch"
    assert client.post(switch, {"act": "pause"}).status_code == 302
    assert Endpoint.objects.get(pk=rows["endpoint"].pk).status == "paused"


def addresses(rows: dict[str, Any]) -> Iterator[str]:
    """The address of every page of customers, of these rows."""
    kinds = {"endpoints": rows["endpoint"], "deliveries": rows["delivery"], "events": rows["event"]}
    for pattern in get_resolver("webhooks_app.urls").url_patterns:
        assert isinstance(pattern, URLPattern)
        path = str(pattern.pattern)
        row = {**kinds, "keys": rows["apikey"]}.get(path.partition("/")[0], rows["endpoint"])
        given = {"public_id": row.public_id, "key": str(rows["attempt"].pk), "name": "test.happened", "token": "x"}
        if path not in ("leave", "endpoints/<str:public_id>/delete"):
            yield re.sub(r"<str:(\w+)>", lambda found, given=given: given[found[1]], path)  # type: ignore[misc]


def test_the_api() -> None:
    program = Program("acme")
    made = program.post("/webhooks", {"url": "https://example.com/hook", "events": ["*"]})
    delivery = DeliveryFactory(endpoint=Endpoint.objects.get(tenant=program.tenant))
    event = program.post("/events", {"type": "test.happened", "data": {}}, headers={"Idempotency-Key": "1"})
    webhook, sent, of = f"/webhooks/{made['id']}", f"/deliveries/{delivery.public_id}", delivery.event.public_id
    for path in ("/webhooks", "/events", "/deliveries", "/event-types", webhook, f"{webhook}/stats", sent):
        program.get(path)
    for path in (f"{sent}/attempts", f"/events/{event['id']}", f"/events/{of}"):
        program.get(path)
    for path in (f"{sent}/retry", f"{sent}/cancel", f"/events/{of}/replay", f"{webhook}/disable", f"{webhook}/enable"):
        assert program("post", path, {}).status_code < 300, path
    for path in (f"{webhook}/rotate-secret", "/deliveries/retry", "/portal-links", "/account-secret"):
        assert program("post", path, {}).status_code < 300, path
    assert program("patch", webhook, {"description": "Changed"}).status_code == 200
    assert program("delete", webhook).status_code == 204


def test_who_is_logged_in_may_use_the_api_too() -> None:
    tenant = EndpointFactory().tenant
    assert len(visiting(tenant).get(f"{ROOT}/webhooks").json()["results"]) == 1


def test_the_installation_state() -> None:
    one_of_everything()
    assert len(read_installation_state().engines) == 1
    assert Client().get("/readyz").status_code == 200


def test_the_engine(receiver: Receiver, deliver: Any) -> None:
    create_endpoint("acme", url=receiver.url("/hook"), events=["*"])
    emit("test.happened", {"n": 1}, tenant="acme")
    deliver()
    assert len(receiver.requests) == 1
    assert Attempt.objects.get().outcome == "succeeded"
    assert repair() == 0
    assert prune().failed == []


def test_erasure_export_and_retention(receiver: Receiver, deliver: Any) -> None:
    create_endpoint("acme", url=receiver.url("/hook"), events=["*"])
    first = emit("test.happened", {"n": 1}, tenant="acme")
    emit("test.happened", {"n": 2}, tenant="acme", callback_url=receiver.url("/callback"), subject="s")
    deliver()
    assert '"data": {"n": 2}' in "".join(export_tenant("acme"))
    erase_event(first)
    assert erase_subject("acme", "s").events == 1
    change_tenant(Tenant.objects.get(), retention_days=1, drop_body_when_delivered=True)
    emit("test.happened", {"n": 3}, tenant="acme")
    deliver()
    assert (report := prune()).failed == []
    assert report.erased == 1
    assert erase_tenant("acme").events == 3
    assert prune(now=database_now() + timedelta(days=2)).events == 3
