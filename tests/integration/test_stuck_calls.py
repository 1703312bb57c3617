"""A receiver that keeps the network library from returning costs its own delivery its turn, and the others a moment."""

from __future__ import annotations

import signal
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.factories import EndpointFactory
from tests.pipelines import Gate, InThread, due_delivery, endpoint_at, eventually, running_engine
from tests.receiver import Receiver
from tests.receiver_behaviours import Delay
from tests.slow_certificates import serve_slow_certificates
from webhooks_app.deliveries.test_event import send_test_event
from webhooks_app.engine import run as engine
from webhooks_app.engine import sending_thread, tenant_pauses, turns
from webhooks_app.engine.tenant_pauses import TenantPauses
from webhooks_app.models import Attempt, Delivery, EndpointQueue, Engine, database_now
from webhooks_app.transport.validation import KEPT_BUSY

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]


@pytest.fixture(autouse=True)
def paused(monkeypatch: pytest.MonkeyPatch) -> TenantPauses:
    """No tenant pauses at the start of a test."""
    pytest.importorskip("pycurl")
    pauses = TenantPauses()
    for module in (turns, sending_thread):
        monkeypatch.setattr(module, "tenant_pauses", pauses)
    return pauses


@pytest.fixture(scope="module")
def slow_certificates() -> Iterator[str]:
    """The URL of a server that keeps its client busy for about eight seconds."""
    with serve_slow_certificates(40) as url:
        yield url


def endpoint_of_evil(url: str) -> Any:
    evil = EndpointFactory(url="https://127.0.0.1/", wire_format="careful")
    type(evil).objects.filter(pk=evil.pk).update(url=url)
    return evil


def succeeded(delivery: Delivery) -> bool:
    return Delivery.objects.get(pk=delivery.pk).status == "succeeded"


def test_another_thread_goes_on_at_once(receiver: Receiver, slow_certificates: str, caplog: Any) -> None:
    good, evil = endpoint_at(receiver), endpoint_of_evil(slow_certificates)
    gate = Gate()
    receiver.on("/slow", [gate, 200])
    with running_engine():
        first = eventually(lambda: Engine.objects.first())
        waiting = due_delivery(endpoint_at(receiver, "/slow", wire_format="slow"))
        eventually(lambda: gate.waiting)
        culprit = due_delivery(evil)
        eventually(lambda: not Engine.objects.filter(pk=first.pk).exists())
        began = time.monotonic()
        others = [waiting, due_delivery(good)]
        eventually(lambda: all(succeeded(one) for one in others))
        assert time.monotonic() - began < 5.0, "the call has not returned by then"
        attempt = eventually(lambda: Attempt.objects.filter(delivery_id=culprit.pk).first())
    assert (attempt.outcome, attempt.detail) == ("protocol_error", KEPT_BUSY)
    queue = EndpointQueue.objects.get(pk=evil.pk)
    assert queue.due_at > database_now("default") + timedelta(minutes=9)
    assert not EndpointQueue.objects.filter(crash_takeovers__gt=0).exists()
    assert len(receiver.requests) == 3, "what was in flight is sent again"
    assert Attempt.objects.count() == 3
    assert "Another thread goes on" in caplog.text


def test_a_token_server_that_does_it_costs_its_own_endpoint_its_turn(
    receiver: Receiver, slow_certificates: str
) -> None:
    client = {"kind": "client_credentials", "client_id": "client", "client_secret": "secret"}
    authentication = {**client, "token_url": slow_certificates}
    evil = EndpointFactory(url=receiver.url("/evil"), wire_format="careful", authentication=authentication)
    with running_engine():
        culprit = due_delivery(evil)
        attempt = eventually(lambda: Attempt.objects.filter(delivery_id=culprit.pk).first())
        good = due_delivery(endpoint_at(receiver))
        eventually(lambda: succeeded(good))
    assert (attempt.outcome, attempt.detail) == (
        "authentication_failed",
        "the token server sent no valid HTTP response",
    )
    assert EndpointQueue.objects.get(pk=evil.pk).due_at > database_now("default") + timedelta(minutes=9)
    assert [one.path for one in receiver.requests] == ["/hook"]


def test_the_tenant_pauses_and_no_other(receiver: Receiver, slow_certificates: str, paused: TenantPauses) -> None:
    evil = endpoint_of_evil(slow_certificates)
    sibling = endpoint_at(receiver, tenant=evil.tenant)
    with running_engine():
        due_delivery(evil)
        eventually(lambda: paused.until(evil.tenant_id) > time.monotonic())
        of_sibling, of_other = due_delivery(sibling), due_delivery(endpoint_at(receiver))
        eventually(lambda: succeeded(of_other))
        assert not succeeded(of_sibling)


def test_pauses_grow_and_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now, tenant, other = [1000.0], uuid.uuid4(), uuid.uuid4()
    monkeypatch.setattr(tenant_pauses.time, "monotonic", lambda: now[0])
    pauses, seen = TenantPauses(), []
    for _ in range(6):
        pauses.pause(tenant)
        seen.append(pauses.until(tenant) - now[0])
        now[0] += seen[-1]
    assert seen == [60, 120, 240, 480, 600, 600]
    assert pauses.until(other) < 0
    now[0] += 3601
    pauses.pause(tenant)
    assert pauses.until(tenant) == now[0] + 60


def test_the_engine_can_be_stopped_meanwhile(receiver: Receiver, slow_certificates: str) -> None:
    due_delivery(endpoint_of_evil(slow_certificates))
    stop = threading.Event()
    running = InThread(lambda: engine.run(stop=stop))
    eventually(lambda: Attempt.objects.exists())
    stop.set()
    began = time.monotonic()
    running.result()
    assert time.monotonic() - began < 4.0
    assert not Engine.objects.exists()
    assert not EndpointQueue.objects.filter(holder_id__isnull=False).exists()


def test_a_test_event_returns_at_its_deadline(slow_certificates: str) -> None:
    evil = endpoint_of_evil(slow_certificates)
    type(evil).objects.filter(pk=evil.pk).update(wire_format="quick")
    began = time.monotonic()
    attempt = send_test_event(evil, type="test.happened")
    assert time.monotonic() - began < 6.0
    assert (attempt.outcome, attempt.detail) == ("protocol_error", KEPT_BUSY)


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs SIGALRM")
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_signal_handler_that_raises(receiver: Receiver, caplog: Any, error: type[BaseException]) -> None:
    """A host's time limit, say. It interrupts no request; Ctrl-C ends the engine, but not before what is in flight."""

    def strike(number: int, frame: object) -> None:
        raise error("from the host")

    receiver.on("/hook", Delay(1.0))
    delivery = due_delivery(endpoint_at(receiver, wire_format="slow"))
    before = signal.signal(signal.SIGALRM, strike)
    main = threading.get_ident()
    InThread(lambda: receiver.wait_for(1) and signal.pthread_kill(main, signal.SIGALRM))
    try:
        if error is KeyboardInterrupt:
            with pytest.raises(KeyboardInterrupt):
                engine.run()
        else:
            engine.run(until=lambda progress: progress.recorded > 0)
            assert "a signal handler of this process raised an error" in caplog.text
    finally:
        signal.signal(signal.SIGALRM, before)
    assert succeeded(delivery)
    assert len(receiver.requests) == 1
