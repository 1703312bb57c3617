"""What the tables promise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from tests.factories import SECRET, DeliveryFactory, EndpointFactory, EventFactory, SecretFactory, TenantFactory
from webhooks_app.exceptions import SealingError
from webhooks_app.models import (
    NOTHING_DUE,
    Delivery,
    Endpoint,
    EndpointQueue,
    Event,
    Secret,
    Subscription,
    Tenant,
    database_now,
)
from webhooks_app.models.ids import first_id, new_id, parse_public_id, public_id

pytestmark = pytest.mark.django_db


def test_ids_of_one_process_ascend_and_begin_with_their_time():
    before = timezone.now() - timedelta(milliseconds=2)
    made = [new_id() for _ in range(2000)]
    assert made == sorted(made)
    assert len(set(made)) == 2000
    assert first_id(before) < made[0] < made[-1] < first_id(timezone.now() + timedelta(milliseconds=2))
    assert (first_id(before).version, first_id(before).variant) == (7, made[0].variant)


def test_the_database_orders_ids_by_time():
    rows = [EventFactory() for _ in range(5)]
    assert list(Event.objects.order_by("id")) == rows
    assert list(Event.objects.filter(id__lt=rows[2].id).order_by("id")) == rows[:2]


def test_public_ids_go_there_and_back():
    key = new_id()
    assert parse_public_id(public_id("evt", key), "evt") == key
    assert parse_public_id(key.hex, "evt") == key
    assert parse_public_id("evt_nonsense", "evt") is None
    assert parse_public_id(public_id("wh", key), "evt") is None


def test_a_tenants_key_is_known_without_asking():
    tenant = TenantFactory(uid="org:5")
    assert tenant.pk == Tenant.id_for("org:5")
    Tenant.objects.bulk_create([Tenant(uid="org:6")])
    assert Tenant.objects.get(uid="org:6").pk == Tenant.id_for("org:6")
    with pytest.raises(IntegrityError), transaction.atomic():
        Tenant.objects.create(uid="org:5")


def test_idle_comes_back_from_the_database_as_it_went():
    endpoint = EndpointFactory()
    assert EndpointQueue.objects.get(pk=endpoint.pk).due_at == NOTHING_DUE == datetime(9999, 1, 1, tzinfo=UTC)


def test_the_databases_clock_is_aware_and_near_ours():
    now = database_now("default")
    assert now.utcoffset() == timedelta(0)
    assert abs(now - timezone.now()) < timedelta(seconds=5)


def test_an_event_goes_to_an_endpoint_once():
    delivery = DeliveryFactory()
    with pytest.raises(IntegrityError), transaction.atomic():
        DeliveryFactory(event=delivery.event, endpoint=delivery.endpoint)


def test_an_idempotency_key_belongs_to_one_event_of_its_tenant():
    event = EventFactory(idempotency_key="k")
    EventFactory(idempotency_key="k")
    EventFactory.create_batch(2, tenant=event.tenant, idempotency_key=None)
    with pytest.raises(IntegrityError), transaction.atomic():
        EventFactory(tenant=event.tenant, idempotency_key="k")


def test_data_is_kept_character_for_character():
    text = '{"b":1.0,"a":"\\u0000ü😀","b2":1e-7}'
    event = EventFactory(data=text)
    event.refresh_from_db()
    assert event.data == text


def test_a_row_that_is_gone_does_not_destroy_a_batch():
    delivery = DeliveryFactory()
    with transaction.atomic():
        Delivery.objects.create(
            tenant_id=delivery.tenant_id,
            event_id=new_id(),
            endpoint_id=new_id(),
            next_attempt_at=NOTHING_DUE,
            expires_at=NOTHING_DUE,
        )
    connection.check_constraints()


def test_reads_are_verbs():
    active, paused = EndpointFactory(), EndpointFactory(status="paused")
    disabled, hidden = EndpointFactory(status="disabled"), EndpointFactory(kind="callback")
    EndpointFactory(status="deleted")
    assert set(Endpoint.objects.visible()) == {active, paused, disabled}
    assert set(Endpoint.objects.accepting_events()) == {active, paused, hidden}
    waiting, held = EventFactory(fanned_out_at=None), EventFactory(quarantine_reason="bad")
    assert list(Event.objects.pending()) == [waiting]
    assert list(Event.objects.quarantined()) == [held]


def test_a_secret_is_live_until_it_expires():
    tenant = TenantFactory()
    SecretFactory(tenant=tenant, expires_at=timezone.now() - timedelta(seconds=1))
    overlapping = SecretFactory(tenant=tenant, expires_at=timezone.now() + timedelta(hours=1))
    current = SecretFactory(tenant=tenant)
    assert set(Secret.objects.live()) == {overlapping, current}


def test_a_secret_is_nowhere_in_the_clear():
    endpoint = EndpointFactory(headers={"Authorization": "Bearer abc"})
    secret = endpoint.secrets.get()
    shown = f"{secret} {secret!r} {vars(secret)} {endpoint} {endpoint!r} {vars(endpoint)}"
    assert SECRET not in shown
    assert "Bearer abc" not in shown
    with connection.cursor() as cursor:
        cursor.execute("SELECT value FROM webhooks_app_secret UNION ALL SELECT headers FROM webhooks_app_endpoint")
        stored = str(cursor.fetchall())
    assert SECRET not in stored
    assert "Bearer" not in stored
    assert secret.reveal() == SECRET


def test_a_sealed_value_opens_in_its_own_row_only():
    endpoint = EndpointFactory()
    other = SecretFactory(tenant=endpoint.tenant)
    Secret.objects.filter(pk=other.pk).update(value=endpoint.secrets.get().value)
    other.refresh_from_db()
    with pytest.raises(SealingError):
        other.reveal()


def test_without_its_key_a_secret_is_an_error_and_never_the_ciphertext(settings):
    secret = SecretFactory()
    settings.WEBHOOKS = {**settings.WEBHOOKS, "ENCRYPTION_KEYS": []}
    with pytest.raises(SealingError):
        secret.reveal()


def test_a_pattern_is_subscribed_once():
    endpoint = EndpointFactory(events=["message.*"])
    with pytest.raises(IntegrityError), transaction.atomic():
        Subscription.objects.create(endpoint=endpoint, pattern="message.*")
