"""Saving in the admin calls the service functions: the same checks, the same audit log, errors beside their fields."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry

from tests.factories import DeliveryFactory, EndpointFactory, TenantFactory
from tests.staff import HEADER_VALUE, actor, page, pages, staff, superuser, text_of
from webhooks_app import emit
from webhooks_app.models import ApiKey, AuditEntry, Delivery, Endpoint, EndpointQueue, EventType, Secret, Tenant

pytestmark = pytest.mark.django_db


def filled(**changes: Any) -> dict[str, Any]:
    """The form of an endpoint."""
    values = {
        "url": "http://127.0.0.1:9/hook", "description": "", "wire_format": "", "events": "test.happened\nmessage.*",
        "filters": "{}", "channels": "", "metadata": "{}", "new_headers": "",
    }  # fmt: skip
    return {**values, **changes}


def errors_of(response: Any) -> dict[str, list[str]]:
    assert response.status_code == 200
    return dict(response.context["adminform"].form.errors)


@pytest.fixture
def new(event_types: None) -> Any:
    """Fill in the form of a new endpoint."""
    client, tenant = superuser(), TenantFactory()
    return lambda **changes: client.post(pages("endpoint", "add"), filled(tenant=tenant.pk, **changes), follow=True)


def test_a_new_endpoint_has_all_that_one_needs_and_its_secret_is_shown_this_once(new):
    response = new(
        description="CRM", channels="line:1\nline:2", rate_limit="5", fifo="on", filters='{"data.n": {"gt": 1}}'
    )
    endpoint = Endpoint.objects.get()
    secret = Secret.objects.get(endpoint=endpoint).reveal()
    assert secret in response.content.decode()
    assert "no-store" in response["Cache-Control"]
    assert (endpoint.patterns, endpoint.channels) == (["test.happened", "message.*"], ["line:1", "line:2"])
    assert (endpoint.rate_limit, endpoint.fifo, endpoint.description) == (5, True, "CRM")
    assert endpoint.filters == {"data.n": {"gt": 1}}
    assert EndpointQueue.objects.get(pk=endpoint.pk).fifo is True
    entry = AuditEntry.objects.get(verb="endpoint.created")
    assert entry.actor.startswith("staff:root")
    assert secret not in text_of(superuser(), page(endpoint))


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("url", {"url": "https://10.0.0.1/hook"}),
        ("url", {"url": "gopher://example.com"}),
        ("url", {"url": ""}),
        ("events", {"events": "no.such.type"}),
        ("events", {"events": "what even"}),
        ("events", {"events": ""}),
        ("filters", {"filters": "[1]"}),
        ("filters", {"filters": "{not json"}),
        ("filters", {"filters": '{"elsewhere": 1}'}),
        ("channels", {"channels": "x" * 200}),
        ("rate_limit", {"rate_limit": "9999999"}),
        ("rate_limit", {"rate_limit": "-1"}),
        ("max_in_flight", {"max_in_flight": "100000"}),
        ("metadata", {"metadata": "NaN"}),
        ("metadata", {"metadata": '"\\u0000"'}),
        ("metadata", {"metadata": "[" * 100_000}),
        ("description", {"description": "x" * 300}),
        ("new_headers", {"new_headers": f"Authorization {HEADER_VALUE}"}),
        ("new_headers", {"new_headers": f"Host: {HEADER_VALUE}"}),
    ],
)
def test_what_is_wrong_is_told_beside_its_field(new, field, changes):
    response = new(**changes)
    assert list(errors_of(response)) == [field]
    assert not Endpoint.objects.exists()
    assert HEADER_VALUE not in response.content.decode(), "what was typed is not shown again"


def test_a_tenant_that_may_have_no_more_is_told_so(new):
    Tenant.objects.update(max_endpoints=0)
    assert "as many as are allowed" in errors_of(new())["__all__"][0]


@pytest.fixture
def change(event_types: None) -> Any:
    """Change an endpoint by its form."""
    client = superuser()

    def go(endpoint: Endpoint, **changes: Any) -> Any:
        values = filled(url=endpoint.url, events="*")
        return client.post(page(endpoint), {**values, **changes}, follow=True)

    return go


def test_only_what_was_changed_is_changed(change):
    endpoint = EndpointFactory(headers={"X-Token": HEADER_VALUE})
    change(endpoint, description="new")
    row = Endpoint.objects.get()
    assert (row.description, row.custom_headers()) == ("new", {"X-Token": HEADER_VALUE})
    assert AuditEntry.objects.get().detail == {"fields": ["description"], "new_secret": False}
    change(row, description="new")
    assert AuditEntry.objects.count() == 1, "nothing was changed"


def test_another_host_gets_a_new_secret_which_is_shown_once_and_loses_the_headers(change):
    endpoint = EndpointFactory(headers={"X-Token": HEADER_VALUE})
    response = change(endpoint, url="http://127.0.0.1:10/other")
    current = Secret.objects.live().get(endpoint=endpoint)
    assert current.reveal() in response.content.decode()
    assert Endpoint.objects.get().custom_headers() == {}


def test_headers_are_replaced_or_removed_and_never_shown(change):
    endpoint = EndpointFactory(headers={"X-Token": HEADER_VALUE})
    client = superuser()
    shown = text_of(client, page(endpoint))
    assert "X-Token: ••••••" in shown
    assert HEADER_VALUE not in shown
    change(endpoint, new_headers="X-Other: a:b\n\nX-Third: c")
    assert Endpoint.objects.get().custom_headers() == {"X-Other": "a:b", "X-Third": "c"}
    assert list(errors_of(change(endpoint, new_headers="X-Other: a", drop_headers="on"))) == ["drop_headers"]
    change(endpoint, drop_headers="on")
    assert Endpoint.objects.get().custom_headers() == {}
    assert "a:b" not in "".join(LogEntry.objects.values_list("change_message", flat=True))


def test_changing_to_strict_order_numbers_what_waits(change):
    endpoint = EndpointFactory()
    DeliveryFactory.create_batch(2, endpoint=endpoint)
    change(endpoint, fifo="on")
    assert sorted(Delivery.objects.values_list("sequence", flat=True)) == [1, 2]


@pytest.mark.parametrize("values", [{"status": "deleted"}, {"kind": "callback"}])
def test_an_endpoint_that_is_gone_or_not_a_persons_cannot_be_changed(change, values):
    endpoint = EndpointFactory(**values)
    assert change(endpoint, description="new").status_code == 403
    assert superuser().get(page(endpoint)).status_code == 200


def test_an_api_key_is_shown_once_and_works():
    tenant = TenantFactory()
    client = staff("add_apikey", "view_apikey", "view_tenant")
    values = {"tenant": tenant.pk, "name": "CI", "scopes": ["events:write"], "expires_at_0": "", "expires_at_1": ""}
    response = client.post(pages("apikey", "add"), values)
    key = ApiKey.objects.get()
    text = response.context["secret"]
    assert text in response.content.decode()
    assert "no-store" in response["Cache-Control"]
    assert (key.scopes, key.name, text[:10]) == (["events:write"], "CI", key.hint)
    assert AuditEntry.objects.get().actor == actor(client)
    for url in (page(key), pages("apikey"), page(key, "history")):
        shown = text_of(client, url)
        assert text not in shown
        assert key.digest not in shown


@pytest.mark.parametrize(
    ("field", "changes"),
    [("scopes", {"scopes": ["everything"]}), ("scopes", {"scopes": []}),
     ("expires_at", {"expires_at_0": "2020-01-01", "expires_at_1": "10:00"})],
)  # fmt: skip
def test_a_key_that_cannot_be_made_says_why_beside_the_field(field, changes):
    values = {"tenant": TenantFactory().pk, "scopes": ["events:write"], **changes}
    assert list(errors_of(superuser().post(pages("apikey", "add"), values))) == [field]
    assert not ApiKey.objects.exists()


def test_a_tenant_is_made_and_changed_with_audit_entries():
    client = superuser()
    client.post(pages("tenant", "add"), {"uid": "org:7", "name": "Seven", "webhooks_enabled": "on"})
    tenant = Tenant.objects.get()
    assert (tenant.pk, tenant.name) == (Tenant.id_for("org:7"), "Seven")
    client.post(page(tenant), {"uid": "org:8", "name": "Eight", "max_endpoints": "3"})
    tenant.refresh_from_db()
    assert (tenant.uid, tenant.name, tenant.webhooks_enabled, tenant.max_endpoints) == ("org:7", "Eight", False, 3)
    changed = AuditEntry.objects.get(verb="tenant.changed")
    assert changed.detail["fields"] == ["max_endpoints", "name", "webhooks_enabled"]
    response = client.post(pages("tenant", "add"), {"uid": "org:7"})
    assert list(errors_of(response)) == ["uid"]
    assert list(errors_of(client.post(page(tenant), {"name": "a", "email": "nonsense"}))) == ["email"]


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("name", {"name": "not a name"}),
        ("name", {"name": "test.happened"}),
        ("schema", {"schema": '{"type": "nonsense"}'}),
        ("schema", {"schema": "[1]"}),
        ("schema", {"schema": '{"pattern": "(?=a)"}'}),
        ("schema", {"schema": '{"properties": {"a": {"pattern": "("}}}'}),
        ("schema", {"schema": '{"$comment": "' + "x" * 70_000 + '"}'}),
        ("example", {"schema": '{"type": "object"}', "example": '"text"'}),
        ("example", {"example": "NaN"}),
    ],
)
def test_an_event_type_that_could_never_be_used_is_refused(field, changes, event_types):
    response = superuser().post(
        pages("eventtype", "add"), {"name": "order.paid", "example": "", "schema": "", **changes}
    )
    assert list(errors_of(response)) == [field]
    assert not EventType.objects.exists()


def test_an_event_type_that_staff_added_can_be_emitted():
    superuser().post(pages("eventtype", "add"), {"name": "order.paid", "schema": '{"type": "object"}', "example": "{}"})
    assert emit("order.paid", {"order": 1}, tenant=TenantFactory()).type == "order.paid"
