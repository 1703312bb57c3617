"""Host names that hang: what they cost the other tenants of an engine, and what they say about their own endpoints."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests import transports
from tests.conftest import Configure
from tests.factories import EndpointFactory, TenantFactory
from tests.integration.test_transport_resolver import SlowNames
from tests.pipelines import eventually, pending_event, running_engine
from tests.receiver import Receiver
from webhooks_app.models import Attempt, Delivery, EndpointQueue, Tenant

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]

transport_name = transports.transport_name
#: With this window the transport has 200 slots, and the resolver as many threads, of which one tenant may use 50.
WINDOW, SHARE = 40, 50


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowNames]:
    names = SlowNames()
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **values: Any) -> list[Any]:
        if str(host).endswith(".example.com"):
            return names.getaddrinfo(host, *args, **values)
        return real(host, *args, **values)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield names
    names.over.set()


def endpoints_of(tenant: Tenant, prefix: str, number: int, port: int) -> None:
    for each in range(number):
        EndpointFactory(tenant=tenant, url=f"http://{prefix}{each}.example.com:{port}/hook", wire_format="slow")


def test_hanging_names_of_one_tenant_leave_slots_and_threads_to_another(
    names: SlowNames, receiver: Receiver, configure: Configure, transport_name: str
) -> None:
    configure(TRANSPORT=transport_name, WINDOW=WINDOW)
    noisy, quiet = TenantFactory(), TenantFactory()
    endpoints_of(noisy, "hang", 150, receiver.port)
    pending_event(noisy)
    with running_engine():
        names.wait_for(SHARE // 2)
        endpoints_of(quiet, "good", 20, receiver.port)
        pending_event(quiet)
        eventually(lambda: Delivery.objects.filter(tenant=quiet, status="succeeded").count() == 20)
        assert not Attempt.objects.filter(tenant=quiet).exclude(outcome="succeeded").exists()
        assert not Delivery.objects.filter(tenant=noisy, status="succeeded").exists()


@pytest.mark.processes
def test_a_name_whose_lookup_never_began_is_not_its_endpoint_s_failure(
    names: SlowNames, receiver: Receiver, configure: Configure, transport_name: str
) -> None:
    configure(TRANSPORT=transport_name, WINDOW=WINDOW)
    tenant = TenantFactory()
    endpoints_of(tenant, "hang", 150, receiver.port)
    pending_event(tenant)
    with running_engine():
        eventually(lambda: Attempt.objects.filter(outcome="not_sent").exists())
    assert len(names.asked) <= SHARE
    hosts = {
        outcome: {
            urlsplit(url).hostname for url in Attempt.objects.filter(outcome=outcome).values_list("url", flat=True)
        }
        for outcome in Attempt.objects.values_list("outcome", flat=True).distinct()
    }
    assert set(hosts) == {"timeout", "not_sent"}
    assert hosts["timeout"] <= set(names.asked)
    assert hosts["not_sent"].isdisjoint(names.asked)
    unsent = Delivery.objects.filter(last_outcome="not_sent")
    assert unsent.exists()
    assert set(unsent.values_list("status", "retry_step")) == {("pending", 0)}
    queues = EndpointQueue.objects.filter(endpoint_id__in=unsent.values("endpoint_id"))
    assert not queues.exclude(failing_since=None, consecutive_failures=0).exists()
