"""Words for the tests of the playground. A test file takes the fixture by assignment: `nowhere = playgrounds.nowhere`."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from tests.factories import TenantFactory
from tests.pipelines import PATIENCE
from webhooks_app.models import Delivery, Endpoint, Tenant
from webhooks_app.playground.service import open_playground

Deliver = Callable[[], Any]


@pytest.fixture
def nowhere(configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """By the rules nothing can be sent to: no port, no network inside, every one outside denied. And a connection that is
    tried all the same fails the test."""
    configure(ALLOW_HTTP=False, ALLOWED_PORTS=[], ALLOWED_NETWORKS=[], DENIED_NETWORKS=["0.0.0.0/0", "::/0"])
    tried: list[Any] = []
    connects, database = socket.socket.connect, connection.settings_dict["PORT"]

    def connect(self: socket.socket, address: Any) -> None:
        # Drivers of some databases are Python, too.
        if database and str(address[1]) == str(database):
            connects(self, address)
        else:
            tried.append(address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    yield
    assert tried == []


def opened(**values: Any) -> tuple[Tenant, Endpoint, str]:
    """A new tenant with an open playground, and the text of its secret. `values` are the tenant's."""
    tenant = TenantFactory(**values)
    endpoint, secret = open_playground(tenant)
    assert secret is not None
    return tenant, endpoint, secret


def deliver_until_nothing_waits(deliver: Deliver) -> None:
    """Retries of the quick wire format come 50 ms later."""
    until = timezone.now() + timedelta(seconds=PATIENCE)
    deliver()
    while Delivery.objects.pending().exists():
        assert timezone.now() < until, "a delivery is still waiting"
        deliver()
