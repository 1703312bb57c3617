"""Tenants take turns within each class of queues: endpoints that hang keep no place from the other tenants."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.conftest import Configure
from tests.leases import SHARE, Leases, many_due
from tests.pipelines import due_delivery, endpoint_at, eventually, running_engine
from tests.receiver import Receiver
from tests.receiver_behaviours import Hang
from webhooks_app.engine import lease
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.sql.types import QueueClass
from webhooks_app.engine.types import EndpointConfig
from webhooks_app.models import Delivery, EndpointQueue, Engine, database_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]


def hanging(receiver: Receiver, number: int, **values: Any) -> None:
    """So many due endpoints of one tenant that never answer."""
    receiver.on("/hang", Hang())
    many_due(receiver, number, "/hang", wire_format="once", **values)


def requests_before(receiver: Receiver, path: str) -> int:
    """Return how many requests had come before the first one to this path."""
    receiver.wait_for(1, path=path)
    return [request.path for request in receiver.requests].index(path)


def test_a_suspected_queue_waits_for_one_of_another_tenant(receiver: Receiver) -> None:
    suspected = {"queue__crash_takeovers": 2, "queue__crashed_at": database_now("default")}
    hanging(receiver, 4, **suspected)
    due_delivery(endpoint_at(receiver, "/other", **suspected))
    with running_engine(options=EngineOptions(crash_isolation_seconds=0.1)):
        assert requests_before(receiver, "/other") == 1
        eventually(lambda: not Delivery.objects.filter(status="pending").exists())


@pytest.mark.parametrize(("window", "tenants"), [(4, 1), (8, 2)], ids=["one place", "two places"])
def test_a_failing_queue_waits_for_one_of_each_other_tenant(
    receiver: Receiver, configure: Configure, window: int, tenants: int
) -> None:
    configure(WINDOW=window)
    for _ in range(tenants):
        hanging(receiver, 4, queue__consecutive_failures=1)
    due_delivery(endpoint_at(receiver, "/other", queue__consecutive_failures=1))
    # What hangs stays in the window until it times out.
    with running_engine(options=EngineOptions(slow_pool_windows=0)):
        # Of two that time out together, either may come first.
        assert requests_before(receiver, "/other") <= 2 * tenants - 1


@contextmanager
def capacity_for(number: int, name: QueueClass, leases: Leases, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have capacity for so many queues of this class, whatever is leased already."""
    capacity = leases.window.lease_capacity()
    capacity[name] = capacity[name]._replace(limit=number)
    with monkeypatch.context() as context:
        context.setattr(leases.window, "lease_capacity", lambda: capacity)
        yield


@pytest.mark.parametrize("gently", [True, False])
@pytest.mark.parametrize("name", [QueueClass.FAILING, QueueClass.SUSPECTED])
def test_queues_that_may_hang_are_leased_in_turn_at_all_times(
    receiver: Receiver, leases: Leases, monkeypatch: pytest.MonkeyPatch, name: QueueClass, gently: bool
) -> None:
    failing = {"queue__consecutive_failures": 1}
    suspected = {"queue__crash_takeovers": 2, "queue__crashed_at": database_now("default")}
    values = suspected if name is QueueClass.SUSPECTED else failing
    first = many_due(receiver, 3, **values)[0].tenant
    others = [many_due(receiver, 1, **values)[0].tenant for _ in range(2)]
    with capacity_for(1, name, leases, monkeypatch):
        for tenants in ({first}, {first, others[0]}, {first, *others}):
            assert leases.lease.take(gently=gently) == 1
            assert leases.tenants() == tenants
        # The others have nothing left.
        assert [leases.lease.take(gently=gently) for _ in range(3)] == [1, 1, 0]


def test_a_share_of_one_class_is_none_of_another(receiver: Receiver, leases: Leases) -> None:
    tenant = many_due(receiver, 3 * SHARE)[0].tenant
    assert leases.lease.take(gently=True) == SHARE
    trusted = endpoint_at(receiver, tenant=tenant, queue__last_success_at=database_now("default"))
    before = database_now("default") - timedelta(seconds=1)  # the clocks of engine and database differ by a moment
    due_delivery(trusted, next_attempt_at=before)
    due_delivery(endpoint_at(receiver), next_attempt_at=before)
    assert leases.lease.take(gently=True) == 2
    assert EndpointQueue.objects.get(pk=trusted.pk).holder_id


def test_the_others_keep_their_turn_while_there_is_no_capacity(
    receiver: Receiver, leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    many_due(receiver, 3 * SHARE)
    assert leases.lease.take(gently=True) == SHARE
    other = endpoint_at(receiver)
    due_delivery(other)
    with capacity_for(0, QueueClass.NEW, leases, monkeypatch):
        assert leases.lease.take(gently=True) == 0
    assert leases.lease.take(gently=True) == 1
    assert other.tenant in leases.tenants()


def test_a_missing_key_asks_for_other_engines_once(
    receiver: Receiver, leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not for each endpoint: it may concern all of them."""
    load = lease.load_endpoint_configs

    def load_without_key(ids: list[uuid.UUID], using: str) -> dict[uuid.UUID, EndpointConfig]:
        return {key: replace(each, fault="no key", fault_is_local=True) for key, each in load(ids, using).items()}

    monkeypatch.setattr(lease, "load_endpoint_configs", load_without_key)
    many_due(receiver, 3)
    with CaptureQueriesContext(connection) as asked:
        assert leases.lease.take() == 3
    table = f'FROM "{Engine._meta.db_table}"'
    assert sum(table in query["sql"].replace("`", '"') for query in asked.captured_queries) == 1
