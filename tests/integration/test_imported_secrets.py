"""Products that move here bring their customers' secrets along, of whatever length; customers keep to the wire format's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.dialects import catalogue_of
from tests.api import Program
from tests.customer import deliver
from tests.receiver import Receiver
from webhooks_app import emit
from webhooks_app.endpoints.secrets import rotate_secret
from webhooks_app.endpoints.service import create_endpoint
from webhooks_app.exceptions import InvalidSecret
from webhooks_app.models import Endpoint, Secret, Tenant
from webhooks_app.receiver import verify

pytestmark = pytest.mark.django_db(transaction=True)

TEXTS = ("msgflash", "msgine", "messages_dev", "muchaw", "gateway")
SHORT = "hunter2"


@pytest.fixture(autouse=True)
def _catalogue(transactional_db: None) -> Iterator[None]:
    with catalogue_of("msgflash"):
        yield


def subscribe(wire_format: str, url: str = "https://example.com/", **options: Any) -> Endpoint:
    return create_endpoint("acme", url=url, events=["message.sent"], wire_format=wire_format, **options)[0]


@pytest.mark.parametrize("wire_format", TEXTS)
@pytest.mark.parametrize("secret", ["x", SHORT, "é" * 600])
def test_what_is_sent_verifies_with_the_secret_that_the_receiver_has(
    wire_format: str, secret: str, receiver: Receiver
) -> None:
    row = subscribe(wire_format, receiver.url(), secret=secret, imported=True)
    assert row.secrets.get().reveal() == secret
    emit("message.sent", {"messageId": "msg_1"}, tenant="acme")
    deliver()
    [request] = receiver.requests
    verify(request.body, request.headers, secret, wire_format=wire_format)


def test_so_does_what_is_sent_to_a_callback_url(receiver: Receiver) -> None:
    tenant = Tenant.objects.create(uid="acme", wire_format="msgine")
    rotate_secret(tenant, secret=SHORT, imported=True)
    emit("message.sent", {"messageId": "msg_1"}, tenant=tenant, callback_url=receiver.url())
    deliver()
    [request] = receiver.requests
    verify(request.body, request.headers, SHORT, wire_format="msgine")


def test_a_receiver_that_has_two_secrets_keeps_both() -> None:
    row = subscribe("muchaw", secret="old", imported=True)
    rotate_secret(row, secret="new", imported=True)
    assert {one.reveal() for one in row.secrets.live()} == {"old", "new"}


@pytest.mark.parametrize("secret", [None, ""])
def test_a_secret_that_is_missing_is_not_replaced_by_a_new_one(secret: str | None) -> None:
    with pytest.raises(InvalidSecret):
        subscribe("msgflash", secret=secret, imported=True)
    assert not Endpoint.objects.exists()


@pytest.mark.parametrize("wire_format", [name for name in TEXTS if name != "gateway"])
def test_what_a_customer_types_in_is_held_to_the_wire_formats_length(wire_format: str) -> None:
    with pytest.raises(InvalidSecret):
        subscribe(wire_format, secret=SHORT)
    program, row = Program(), subscribe(wire_format)
    body = {"url": "https://example.com/", "events": ["message.sent"], "wire_format": wire_format, "secret": SHORT}
    for more in ({}, {"imported": True}):
        assert program.refused("post", "/webhooks", {**body, **more}) == (400, "INVALID_SECRET", "secret")
        rotation = {"secret": SHORT, **more}
        path = f"/webhooks/{row.public_id}/rotate-secret"
        assert program.refused("post", path, rotation) == (400, "INVALID_SECRET", "secret")
    assert Secret.objects.count() == 1
