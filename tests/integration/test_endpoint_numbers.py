"""Whole numbers of endpoints: a webhook whose customers know it by its number is never there without one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.test import Client

from tests.acceptance.dialects import key
from tests.factories import EndpointFactory
from webhooks_app.endpoints.numeric_ids import number_endpoints
from webhooks_app.endpoints.service import create_endpoint
from webhooks_app.models import AuditEntry, Endpoint, EndpointNumber
from webhooks_app.models.endpoint_number import MAX_NUMBER

pytestmark = pytest.mark.django_db(transaction=True)

NEW: dict[str, Any] = {"url": "https://your-server.com/webhook", "events": ["*"]}
_TABLE = EndpointNumber._meta.db_table


@pytest.fixture
def no_number_left() -> Iterator[None]:
    """The highest that the database can give has been given; afterwards it counts on as before."""
    if connection.vendor == "mysql":
        pytest.skip("Only a row with the highest number would make it the last one here.")
    number_endpoints([EndpointFactory()])
    before = EndpointNumber.objects.get().pk
    _count_from(MAX_NUMBER)
    yield
    _count_from(before)


def _count_from(number: int) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT setval(pg_get_serial_sequence(%s, 'id'), %s)", [_TABLE, number])
        else:
            cursor.execute("UPDATE sqlite_sequence SET seq = %s WHERE name = %s", [number, _TABLE])


def test_it_has_one_as_soon_as_it_is_made_wherever_that_is() -> None:
    row, _ = create_endpoint("acme", **NEW, wire_format="gateway")
    assert EndpointNumber.objects.get().endpoint_id == row.pk


def test_other_products_webhooks_have_none() -> None:
    create_endpoint("acme", **NEW, wire_format="muchaw")
    assert not EndpointNumber.objects.exists()


@pytest.mark.usefixtures("no_number_left")
def test_where_none_can_be_given_nothing_is_made() -> None:
    with pytest.raises(DatabaseError):
        create_endpoint("acme", **NEW, wire_format="gateway")
    answer = Client().post("/gateway/webhooks", NEW, content_type="application/json", headers={"Authorization": key()})
    assert (answer.status_code, answer.json()["error"]) == (500, "Failed to create webhook")
    assert Endpoint.objects.count() == 1, "the one that was there"
    assert not AuditEntry.objects.filter(verb="endpoint.created").exists()
