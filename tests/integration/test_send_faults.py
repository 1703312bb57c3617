"""One of several engines cannot send: it leaves the deliveries to the others, which are rows of engines here."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.conftest import Configure
from tests.factories import EngineFactory
from tests.pipelines import due_delivery, endpoint_at, eventually, running_engine
from tests.proxies import HTTPProxy
from tests.receiver import Receiver
from webhooks_app.engine import lease, settle
from webhooks_app.engine.send_faults import SendFaults
from webhooks_app.models import Attempt, Delivery, EndpointQueue, database_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]

NUMBER = 15


@pytest.fixture
def proxy(receiver: Receiver, configure: Configure, monkeypatch: pytest.MonkeyPatch) -> Iterator[HTTPProxy]:
    """One that is down."""
    faults = SendFaults()
    monkeypatch.setattr(lease, "send_faults", faults)
    monkeypatch.setattr(settle, "send_faults", faults)
    with HTTPProxy({f"127.0.0.1:{receiver.port}": receiver.port}, fault="close") as proxy:
        configure(EGRESS={"PROXY": proxy.url})
        yield proxy


def another_engine() -> None:
    EngineFactory(alive_until=database_now() + timedelta(minutes=5))


def deliveries(receiver: Receiver) -> None:
    for number in range(NUMBER):
        due_delivery(endpoint_at(receiver, f"/{number}"))


def test_it_leases_less_and_less_and_parks_nothing(receiver: Receiver, proxy: HTTPProxy, caplog: Any) -> None:
    another_engine()
    deliveries(receiver)
    with running_engine():
        eventually(lambda: "it leaves its queues to other engines" in caplog.text)
        connected = len(proxy.clients)
        time.sleep(3.5)  # within which it tries again after one second, and after two more
        assert 1 <= len(proxy.clients) - connected <= 6
        now = database_now()
        assert not EndpointQueue.objects.exclude(holder_id=None, due_at__lte=now).exists()
        assert not Delivery.objects.exclude(attempts=0, next_attempt_at__lte=now).exists()
    assert caplog.text.count("it leaves its queues to other engines") == 1
    assert not Attempt.objects.exists()


def test_it_sends_again_as_soon_as_it_can(receiver: Receiver, proxy: HTTPProxy, caplog: Any) -> None:
    another_engine()
    deliveries(receiver)
    with running_engine():
        eventually(lambda: "it leaves its queues to other engines" in caplog.text)
        proxy.fault = ""
        receiver.wait_for(NUMBER)
        eventually(lambda: not Delivery.objects.pending().exists())


def test_what_has_expired_is_not_left_to_others(receiver: Receiver, proxy: HTTPProxy) -> None:
    another_engine()
    due_delivery(endpoint_at(receiver), expires_at=database_now() - timedelta(seconds=1))
    with running_engine():
        eventually(lambda: Delivery.objects.get().status == "exhausted")


def test_alone_it_goes_on(receiver: Receiver, proxy: HTTPProxy) -> None:
    deliveries(receiver)
    with running_engine():
        eventually(lambda: Attempt.objects.count() == NUMBER)
    assert not Delivery.objects.exclude(last_outcome="not_sent", next_attempt_at__gt=database_now()).exists()
