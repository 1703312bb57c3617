"""Rotating, ending and issuing secrets."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from tests.factories import SECRET, EndpointFactory, SecretFactory, TenantFactory
from webhooks_app.core.encryption import new_key
from webhooks_app.endpoints.secrets import (
    MAX_OLD,
    end_old_secret,
    rotate_secret,
)
from webhooks_app.exceptions import ConflictingState, InvalidSecret
from webhooks_app.models import AuditEntry, Secret
from webhooks_app.wire_formats import get_wire_format

pytestmark = pytest.mark.django_db


def live(endpoint) -> list[str]:
    return [secret.reveal() for secret in endpoint.secrets.live().order_by("-created_at", "-id")]


def test_after_a_rotation_both_sign_until_the_overlap_ends():
    endpoint = EndpointFactory()
    rotated = rotate_secret(endpoint, actor="user:anna")
    assert live(endpoint) == [rotated.text, SECRET]
    day = timedelta(hours=24)
    assert abs(rotated.previous_expires_at - timezone.now() - day) < timedelta(seconds=10)
    entry = AuditEntry.objects.get()
    assert (entry.verb, entry.actor, entry.target) == ("secret.rotated", "user:anna", endpoint.public_id)
    assert rotated.text not in str(entry.detail)
    assert rotated.text not in repr(rotated)


def test_no_overlap_ends_every_old_one_at_once():
    endpoint = EndpointFactory()
    rotate_secret(endpoint)
    rotated = rotate_secret(endpoint, overlap=timedelta(0))
    assert live(endpoint) == [rotated.text]


def test_the_customers_own_secret_is_taken_but_not_one_that_is_in_use():
    endpoint = EndpointFactory()
    with pytest.raises(InvalidSecret):
        rotate_secret(endpoint, secret=SECRET)
    other = "whsec_" + "A" * 32
    assert rotate_secret(endpoint, secret=other).text == other


def test_live_old_secrets_are_bounded():
    endpoint = EndpointFactory()
    for _ in range(MAX_OLD + 3):
        rotated = rotate_secret(endpoint)
    assert len(live(endpoint)) == MAX_OLD + 1
    assert live(endpoint)[0] == rotated.text


def test_a_rotation_leaves_the_end_of_older_secrets_as_it_was():
    endpoint = EndpointFactory()
    first = rotate_secret(endpoint, overlap=timedelta(hours=1)).previous_expires_at
    rotate_secret(endpoint, overlap=timedelta(hours=5))
    assert endpoint.secrets.order_by("created_at", "id").first().expires_at == first


def test_the_overlap_can_be_ended_early():
    endpoint = EndpointFactory()
    rotated = rotate_secret(endpoint)
    assert end_old_secret(endpoint) == 1
    assert live(endpoint) == [rotated.text]
    assert end_old_secret(endpoint) == 0
    assert AuditEntry.objects.filter(verb="secret.ended").count() == 1


def test_one_of_several_old_secrets_can_be_ended():
    endpoint = EndpointFactory()
    old = endpoint.secrets.get()
    second = rotate_secret(endpoint)
    third = rotate_secret(endpoint)
    assert end_old_secret(endpoint, secret_id=old.pk) == 1
    assert live(endpoint) == [third.text, second.text]
    current = endpoint.secrets.get(expires_at__isnull=True)
    assert end_old_secret(endpoint, secret_id=current.pk) == 0, "the current one is no old one"


def test_a_lost_key_does_not_stop_a_rotation(settings):
    endpoint = EndpointFactory()
    settings.WEBHOOKS = {**settings.WEBHOOKS, "ENCRYPTION_KEYS": [new_key()]}
    rotated = rotate_secret(endpoint, overlap=timedelta(0))
    assert live(endpoint) == [rotated.text]


def test_the_secret_has_the_format_of_the_wire_format():
    endpoint = EndpointFactory(wire_format="muchaw")
    assert rotate_secret(endpoint).text.startswith(get_wire_format("muchaw").secret_format.prefix)


def test_deleted_and_hidden_endpoints_have_no_secret_to_rotate():
    for endpoint in (EndpointFactory(status="deleted"), EndpointFactory(kind="callback")):
        with pytest.raises(ConflictingState):
            rotate_secret(endpoint)


def test_a_negative_overlap_is_refused():
    with pytest.raises(InvalidSecret):
        rotate_secret(EndpointFactory(), overlap=timedelta(seconds=-1))


def test_issuing_the_account_secret_shows_a_new_one_and_lets_the_old_one_overlap():
    tenant = TenantFactory()
    issued = rotate_secret(tenant)
    assert issued.previous_expires_at is None
    again = rotate_secret(tenant)
    assert again.previous_expires_at is not None
    assert {secret.reveal() for secret in Secret.objects.live()} == {issued.text, again.text}
    assert Secret.objects.get(tenant=tenant, endpoint=None, expires_at=None).reveal() == again.text


def test_a_tenants_account_secret_and_its_endpoints_secrets_are_apart():
    endpoint = EndpointFactory()
    SecretFactory(tenant=endpoint.tenant)
    rotate_secret(endpoint.tenant, overlap=timedelta(0))
    assert live(endpoint) == [SECRET]
