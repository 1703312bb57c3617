"""Deliveries through an egress proxy: its failures cost no endpoint anything, and its refusals are the endpoint's."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from tests import transports
from tests.conftest import Configure
from tests.pipelines import deliver_until, endpoint_at, pending_event
from tests.proxies import EgressProxy, HTTPProxy, SOCKSProxy
from tests.receiver import Receiver
from webhooks_app.models import Attempt, Delivery, EndpointQueue

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]

transport_name = transports.transport_name
shared_receiver = transports.shared_receiver
receiver = transports.receiver

PASSWORD: dict[str, Any] = {"user": "operator", "password": "hush-tacet"}


@pytest.fixture(params=[HTTPProxy, SOCKSProxy], ids=["http", "socks5h"])
def kind(request: pytest.FixtureRequest) -> type[EgressProxy]:
    return request.param  # type: ignore[no-any-return]


def test_events_arrive_through_it(
    configure: Configure, transport_name: str, receiver: Receiver, kind: type[EgressProxy]
) -> None:
    with kind({f"127.0.0.1:{receiver.port}": receiver.port}, **PASSWORD) as proxy:
        configure(TRANSPORT=transport_name, EGRESS={"PROXY": proxy.url})
        pending_event(endpoint_at(receiver, "/hook").tenant)
        deliver_until(lambda: Delivery.objects.filter(status="succeeded").exists())
        assert proxy.asked == [f"127.0.0.1:{receiver.port}"]


@pytest.mark.parametrize("fault", ["close", "garbage"])
def test_its_failure_costs_no_endpoint_anything_and_is_logged_once(
    configure: Configure,
    transport_name: str,
    receiver: Receiver,
    kind: type[EgressProxy],
    caplog: pytest.LogCaptureFixture,
    fault: str,
) -> None:
    with kind(fault=fault, **PASSWORD) as proxy:
        configure(TRANSPORT=transport_name, EGRESS={"PROXY": proxy.url})
        endpoints = [endpoint_at(receiver, f"/{number}") for number in range(3)]
        for endpoint in endpoints:
            pending_event(endpoint.tenant)
        deliver_until(lambda: Attempt.objects.count() >= 3)
    outcomes = set(Delivery.objects.values_list("status", "retry_step", "last_outcome"))
    assert outcomes == {("pending", 0, "not_sent")}
    assert not EndpointQueue.objects.exclude(consecutive_failures=0).exists()
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len([error for error in errors if f"the egress proxy 127.0.0.1:{proxy.port} failed" in error]) == 1, errors
    assert "tacet" not in caplog.text
    assert not receiver.requests


@pytest.mark.parametrize(
    ("kind", "refusal"),
    [(HTTPProxy, 403), (HTTPProxy, 407), (SOCKSProxy, 2)],
    ids=["http", "smokescreen", "socks5h"],
)
def test_its_refusal_is_the_endpoints(
    configure: Configure, transport_name: str, receiver: Receiver, kind: type[EgressProxy], refusal: int
) -> None:
    with kind(refusal=refusal) as proxy:
        configure(TRANSPORT=transport_name, EGRESS={"PROXY": proxy.url})
        endpoint = endpoint_at(receiver, "/hook")
        pending_event(endpoint.tenant)
        deliver_until(lambda: Attempt.objects.exists())
    assert Delivery.objects.get().last_outcome == "address_not_allowed"
    assert EndpointQueue.objects.get(pk=endpoint.pk).consecutive_failures == 1
