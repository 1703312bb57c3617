"""Erase a tenant: no table keeps anything that was entered for it, other tenants keep everything, and the history adds up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.api import Program
from tests.customer import TYPE, Customer
from tests.factories import DeliveryFactory, NotificationFactory
from tests.kept import holding
from tests.receiver_behaviours import Answer
from webhooks_app import (
    create_api_key,
    create_portal_link,
    disable_endpoint,
    emit,
    erase_tenant,
    registry,
    rotate_secret,
)
from webhooks_app.models import (
    ApiKey,
    Attempt,
    AuditEntry,
    Delivery,
    DeliveryStatus,
    Endpoint,
    EndpointStatus,
    Event,
    HourlyStat,
    Notification,
    PortalLink,
    Secret,
    Tenant,
)
from webhooks_app.notifications import operational_events
from webhooks_app.notifications.send import send_notifications
from webhooks_app.playground import open_playground
from webhooks_app.tenants.api_keys import find_api_key
from webhooks_app.tenants.audit import record_audit_entry
from webhooks_app.tenants.portal import use_portal_link
from webhooks_app.tenants.service import change_tenant

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]

CANARY = "CANARY9b1c"
Deliver = Callable[..., Any]


@pytest.fixture
def customer() -> Iterator[Customer]:
    with Customer() as customer:
        yield customer


def fill(customer: Customer, deliver: Deliver) -> str:
    """Put the canary into every field that takes text. Return the text of an API key."""
    tenant, who = customer.tenant, f"user:{CANARY}"
    change_tenant(tenant, name=CANARY, email=f"{CANARY}@example.com", actor=who)
    customer.receiver.on(f"/{CANARY}", Answer(200, {"X-Echo": CANARY}, CANARY.encode()))
    endpoint = customer.endpoint(
        f"/{CANARY}",
        description=CANARY,
        headers={"X-Own": CANARY},
        metadata={"key": CANARY},
        channels=[CANARY],
        filters={"$not": {"data.who": CANARY + "!"}},
        actor=who,
    )
    other = customer.endpoint("/other", description=CANARY)
    open_playground(tenant, actor=who)
    key, text = create_api_key(tenant, name=CANARY, actor=who)
    _, token = create_portal_link(tenant, api_key=key, role="manager", actor=who)
    link = use_portal_link(token)
    create_api_key(tenant, name=CANARY, portal_link=link, actor=f"portal:{CANARY}")
    rotate_secret(tenant, actor=who)
    emit(TYPE, {"who": CANARY}, tenant=tenant, subject=CANARY, idempotency_key=CANARY, channels=[CANARY])
    emit(TYPE, {}, tenant=tenant, callback_url=customer.receiver.url(f"/callback/{CANARY}"))
    Program(tenant).post("/events", {"type": TYPE, "data": CANARY}, Idempotency_Key=CANARY)
    deliver()
    disable_endpoint(other, CANARY, actor=who)
    NotificationFactory(endpoint=endpoint, reason=CANARY)
    record_audit_entry(tenant.pk, who, "endpoint.paused", endpoint.public_id, reason=CANARY)
    emit(TYPE, {"who": CANARY}, tenant=tenant, subject=CANARY)
    return text


def test_nothing_that_was_entered_is_kept(customer: Customer, deliver: Deliver) -> None:
    text = fill(customer, deliver)
    filled = {"Tenant", "Endpoint", "ApiKey", "PortalLink", "Event", "EventChannel", "Attempt", "AuditEntry"}
    assert holding(CANARY) == filled | {"IdempotencyRecord", "Notification"}
    report = erase_tenant(customer.tenant, actor="staff:bert")
    assert holding(CANARY) == set()
    assert (report.events, report.endpoints, report.api_keys) == (4, 3, 3)
    assert find_api_key(text) is None
    for model in (ApiKey, PortalLink, Secret, Notification):
        assert not model._default_manager.exists(), model
    assert set(Endpoint.objects.without_callbacks().values_list("status", flat=True)) == {EndpointStatus.DELETED}


def test_the_history_stays(customer: Customer, deliver: Deliver) -> None:
    fill(customer, deliver)
    kept = (Event, Delivery, Attempt, HourlyStat, Endpoint)
    before = {model: model._default_manager.count() for model in kept}
    audit = AuditEntry.objects.count()
    erase_tenant(customer.tenant, actor="staff:bert")
    assert {model: model._default_manager.count() for model in kept} == before
    assert Delivery.objects.pending().count() == 0
    entry = AuditEntry.objects.get(verb="tenant.erased")
    assert (entry.actor, entry.target, entry.detail) == ("staff:bert", customer.uid, {"count": 4})
    assert AuditEntry.objects.count() >= audit
    assert "user:erased" in set(AuditEntry.objects.values_list("actor", flat=True))


def test_twice_is_the_same_as_once(customer: Customer, deliver: Deliver) -> None:
    fill(customer, deliver)
    erase_tenant(customer.tenant)
    at = Event.objects.first()
    erase_tenant(customer.tenant)
    assert Event.objects.first() == at
    assert holding(CANARY) == set()


def test_other_tenants_keep_everything(customer: Customer) -> None:
    with Customer() as other:
        endpoint = other.endpoint(headers={"X-Own": "theirs"}, description="theirs")
        create_api_key(other.tenant, name="theirs")
        event = other.emit({"n": "theirs"}, subject="theirs")
        kept = {model: list(model._default_manager.values()) for model in (Endpoint, Secret, ApiKey, Event, AuditEntry)}
        erase_tenant(customer.tenant)
        for model, rows in kept.items():
            mine = model._default_manager.exclude(**_of(model, customer.tenant))
            assert list(mine.values()) == rows, model
        endpoint.refresh_from_db()
        assert endpoint.custom_headers() == {"X-Own": "theirs"}
        assert event.erased_at is None


def _of(model: Any, tenant: Tenant) -> dict[str, Any]:
    return {"tenant_id": tenant.pk}


def test_a_callback_url_that_is_named_again_works(customer: Customer, deliver: Deliver) -> None:
    url = customer.receiver.url("/callback")
    customer.emit(callback_url=url)
    deliver()
    erase_tenant(customer.tenant)
    assert Endpoint.objects.get().url == ""
    customer.emit(callback_url=url)
    deliver()
    assert len(customer.received) == 2


def test_operational_events_about_it_are_erased(customer: Customer, configure: Any) -> None:
    registry.register(*operational_events.EVENT_TYPES)
    configure(NOTIFICATIONS={"OPERATIONS_TENANT": "operator", "DIGEST_SECONDS": 0.0})
    endpoint = customer.endpoint(f"/{CANARY}")
    disable_endpoint(endpoint, "it fails")
    send_notifications()
    registry.unregister([type_.name for type_ in operational_events.EVENT_TYPES])
    assert Event.objects.get().tenant_uid == "operator"
    assert holding(CANARY) == {"Endpoint", "Event"}
    erase_tenant(customer.tenant)
    assert holding(CANARY) == set()


def test_pending_deliveries_of_its_endpoints_are_cancelled() -> None:
    delivery = DeliveryFactory()
    erase_tenant(delivery.tenant)
    delivery.refresh_from_db()
    assert delivery.status == DeliveryStatus.CANCELLED
