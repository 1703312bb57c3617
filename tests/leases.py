"""Leases of an engine that is not running, for the tests of what it takes next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from tests.factories import TenantFactory
from tests.pipelines import due_delivery, endpoint_at, eventually
from tests.receiver import Receiver
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.heartbeat import Heartbeat
from webhooks_app.engine.lease import Lease
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.window import Window
from webhooks_app.models import Endpoint, EndpointQueue, Tenant, database_now


@dataclass
class Leases:
    """The leases of one engine that is not running, and their window."""

    lease: Lease
    window: Window

    def tenants(self) -> set[Tenant]:
        return set(Tenant.objects.filter(id__in=EndpointQueue.objects.exclude(holder_id=None).values("tenant_id")))


#: What a tenant with very many may have leased at once, in the fixture `leases`.
SHARE = 4


@pytest.fixture
def leases() -> Iterator[Leases]:
    with leases_of(EngineOptions(leased_gently=SHARE, leased_gently_of_tenant=SHARE)) as leases:
        yield leases


@pytest.fixture
def look_again(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Call it to wait until the engine that is running has read its leased queues again, from beginning to end."""
    recheck, began, ended = Lease.recheck, [0], [0]

    def counted(lease: Lease) -> None:
        began[0] += 1
        recheck(lease)
        ended[0] = began[0]

    monkeypatch.setattr(Lease, "recheck", counted)

    def wait() -> None:
        before = began[0]
        eventually(lambda: ended[0] > before)

    return wait


@contextmanager
def leases_of(options: EngineOptions) -> Iterator[Leases]:
    heartbeat = Heartbeat("default", "test", options, on_change=lambda: None)
    heartbeat.start()
    eventually(lambda: heartbeat.alive)
    window = Window(options, capacity=1000)
    yield Leases(Lease("default", heartbeat, window, options, FaultLog()), window)
    heartbeat.end(5.0)


def many_due(receiver: Receiver, number: int, path: str = "/hook", **values: Any) -> list[Endpoint]:
    """So many endpoints of one tenant that have been due for a while, with one delivery each."""
    tenant = TenantFactory()
    endpoints = [endpoint_at(receiver, path, tenant=tenant, **values) for _ in range(number)]
    for endpoint in endpoints:
        due_delivery(endpoint, next_attempt_at=database_now("default") - timedelta(minutes=1))
    return endpoints
