"""Code of the host's that builds requests: nobody waits for it but the deliveries that need it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests import host_formats
from tests.conftest import Configure
from tests.factories import TenantFactory
from tests.pipelines import (
    WIRE_FORMATS,
    InThread,
    deliver_until,
    endpoint_at,
    eventually,
    pending_event,
    running_engine,
)
from tests.receiver import Receiver
from webhooks_app.engine import build_threads, sending_thread
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.run import run
from webhooks_app.engine.tenant_pauses import TenantPauses
from webhooks_app.models import Attempt, Delivery, EndpointQueue, database_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]

HANGING = ["host_hangs", "host_headers_hang", "host_scheme_hangs"]


@pytest.fixture(autouse=True)
def _host(pipeline: object, configure: Configure) -> Iterator[None]:
    host_formats.reset()
    configure(WIRE_FORMATS={**WIRE_FORMATS, **host_formats.WIRE_FORMATS})
    yield
    host_formats.released.set()
    eventually(lambda: not build_threads._pool.away())  # they count for the engines of the next test


def hanging_endpoint(receiver: Receiver, wire_format: str, events: int = 3) -> None:
    endpoint = endpoint_at(receiver, "/bad", wire_format=wire_format)
    for _ in range(events):
        pending_event(endpoint.tenant)


def builders() -> int:
    return sum(thread.name == "webhooks-builder" for thread in threading.enumerate())


@pytest.mark.parametrize("wire_format", [*HANGING, "host_burns"])
def test_others_are_sent_at_once_while_host_code_hangs(receiver: Receiver, wire_format: str) -> None:
    good = endpoint_at(receiver, "/good", wire_format="plain")
    hanging_endpoint(receiver, wire_format)
    with running_engine(options=EngineOptions(build_seconds=60.0)):
        eventually(lambda: host_formats.calls)
        began = time.monotonic()
        for number in range(1, 6):
            pending_event(good.tenant)
            receiver.wait_for(number, path="/good")
        eventually(lambda: Attempt.objects.filter(outcome="succeeded").count() == 5)
        assert time.monotonic() - began < 10
        host_formats.released.set()


@pytest.mark.parametrize("wire_format", HANGING)
def test_a_build_that_takes_too_long_is_a_fault_on_our_side(receiver: Receiver, wire_format: str) -> None:
    hanging_endpoint(receiver, wire_format, events=1)
    deliver_until(lambda: Attempt.objects.exists(), options=EngineOptions(build_seconds=0.3))
    delivery, attempt = Delivery.objects.get(), Attempt.objects.get()
    assert (delivery.status, delivery.retry_step, delivery.last_outcome) == ("pending", 0, "not_sent")
    assert "did not return within 0.3 s" in attempt.detail
    assert EndpointQueue.objects.get().consecutive_failures == 0
    assert not receiver.requests


def test_what_a_late_build_returns_is_dropped(receiver: Receiver) -> None:
    hanging_endpoint(receiver, "host_hangs", events=1)
    with running_engine(options=EngineOptions(build_seconds=0.3)):
        eventually(lambda: Attempt.objects.exists())
        host_formats.released.set()
        good = endpoint_at(receiver, "/good", wire_format="plain")
        InThread(lambda: pending_event(good.tenant)).result()
        receiver.wait_for(1, path="/good")
    assert [request.path for request in receiver.requests] == ["/good"]


def test_an_engine_ends_while_host_code_hangs(receiver: Receiver) -> None:
    hanging_endpoint(receiver, "host_hangs")
    stop = threading.Event()
    engine = InThread(lambda: run(stop=stop, options=EngineOptions(build_seconds=60.0, drain_seconds=0.5)))
    eventually(lambda: host_formats.calls)
    stop.set()
    engine.result()
    assert not EndpointQueue.objects.filter(holder_id__isnull=False).exists()


def test_lost_threads_are_bounded_and_only_their_wire_format_waits(receiver: Receiver) -> None:
    before = builders()
    for _ in range(4):
        hanging_endpoint(receiver, "host_hangs", events=5)
    tenant = TenantFactory()
    endpoint_at(receiver, "/good", wire_format="plain", tenant=tenant)
    endpoint_at(receiver, "/moment", wire_format="host_moment", tenant=tenant)
    with running_engine(options=EngineOptions(build_seconds=0.3, stuck_builds_of_format=3, build_threads_of_tenant=1)):
        eventually(lambda: EndpointQueue.objects.filter(not_before__gt=database_now("default")).count() == 4)
        pending_event(tenant)
        receiver.wait_for(1, path="/good")
        receiver.wait_for(1, path="/moment")
        assert host_formats.calls["hangs"] == 3
        assert builders() - before <= 3 + 1
        host_formats.released.set()
    assert Delivery.objects.filter(endpoint__wire_format="host_hangs", status="pending").count() == 20


def test_host_code_that_exits_ends_no_engine(receiver: Receiver) -> None:
    hanging_endpoint(receiver, "host_exits", events=1)
    deliver_until(lambda: Attempt.objects.exists())
    assert "SystemExit" in Attempt.objects.get().detail


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_that_host_code_forks_builds_nothing(receiver: Receiver) -> None:
    hanging_endpoint(receiver, "host_forks", events=1)
    deliver_until(lambda: Delivery.objects.filter(status="succeeded").exists())
    (child,) = host_formats.children
    ended = eventually(lambda: status if (status := os.waitpid(child, os.WNOHANG))[0] else None)
    assert os.waitstatus_to_exitcode(ended[1]) == 3


def test_more_deliveries_than_threads_are_all_sent(receiver: Receiver) -> None:
    endpoint = endpoint_at(receiver, "/hook", wire_format="host_moment")
    for _ in range(30):
        pending_event(endpoint.tenant)
    deliver_until(lambda: Delivery.objects.filter(status="succeeded").count() == 30)
    assert len(receiver.requests) == len({request.headers["webhook-id"] for request in receiver.requests}) == 30


def test_the_order_of_a_fifo_endpoint_is_kept(receiver: Receiver) -> None:
    endpoint = endpoint_at(receiver, "/hook", wire_format="host_moment", fifo=True)
    events = [pending_event(endpoint.tenant) for _ in range(8)]
    deliver_until(lambda: Delivery.objects.filter(status="succeeded").count() == 8)
    assert [request.headers["webhook-id"] for request in receiver.requests] == [event.public_id for event in events]


def test_a_new_engine_has_no_further_threads_for_code_that_has_not_returned_to_the_last_one(receiver: Receiver) -> None:
    options = EngineOptions(build_seconds=0.3, stuck_builds_of_format=2, drain_seconds=0.1)
    for _ in range(4):
        hanging_endpoint(receiver, "host_hangs", events=1)
        run(until=lambda progress: progress.seconds > 1.0, options=options)
    assert host_formats.calls["hangs"] == 2


@pytest.mark.parametrize("wire_format", ["host_fails", "host_fails_exiting", "host_fails_slowly"])
def test_an_exception_whose_text_cannot_be_had(receiver: Receiver, wire_format: str, caplog: Any) -> None:
    """Its `__str__` is the host's code, too."""
    hanging_endpoint(receiver, wire_format, events=1)
    good = endpoint_at(receiver, "/good", wire_format="plain")
    with running_engine():
        eventually(lambda: build_threads._pool.away() or Attempt.objects.exists())
        began = time.monotonic()
        for number in range(1, 6):
            pending_event(good.tenant)
            receiver.wait_for(number, path="/good")
        assert time.monotonic() - began < 2.5 or wire_format != "host_fails_slowly"
        attempt = eventually(lambda: Attempt.objects.exclude(endpoint_id=good.pk).first())
    assert attempt.outcome == "not_sent"
    assert "OddError" in attempt.detail or "did not return" in attempt.detail
    assert "starts again" not in caplog.text


def test_lazy_headers_are_computed_by_the_builder(receiver: Receiver) -> None:
    hanging_endpoint(receiver, "host_lazy", events=1)
    good = endpoint_at(receiver, "/good", wire_format="plain")
    with running_engine(options=EngineOptions(build_seconds=10.0)):
        eventually(lambda: host_formats.calls["lazy"])
        pending_event(good.tenant)
        receiver.wait_for(1, path="/good")
        assert [one.path for one in receiver.requests] == ["/good"], "the other one is still being built"
        [request] = receiver.wait_for(1, path="/bad")
    assert request.headers["x-region"] == "computed late"


def test_headers_that_are_no_text_are_refused(receiver: Receiver) -> None:
    hanging_endpoint(receiver, "host_number", events=1)
    deliver_until(Attempt.objects.exists)
    attempt = Attempt.objects.get()
    assert (attempt.outcome, attempt.detail) == ("not_sent", "TypeError: a header's name or value is int, not text")


def test_a_tenant_whose_build_keeps_the_interpreter_pauses(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing interrupts a regular expression; it happens once, and not with each event."""
    monkeypatch.setattr(sending_thread, "tenant_pauses", TenantPauses())
    good = endpoint_at(receiver, "/good", wire_format="plain")
    hanging_endpoint(receiver, "host_backtracks", events=40)
    with running_engine():
        eventually(lambda: host_formats.calls["backtracks"])
        for number in range(1, 21):
            pending_event(good.tenant)
            receiver.wait_for(number, path="/good")
    assert 1 <= host_formats.calls["backtracks"] < 20, (
        "only those that had started before the engine noticed the first one"
    )


def test_a_loop_is_ended(receiver: Receiver) -> None:
    """It would take the interpreter from the engine's threads for ever."""
    hanging_endpoint(receiver, "host_loops", events=1)
    with running_engine(options=EngineOptions(build_seconds=0.3)):
        eventually(Attempt.objects.exists)
        eventually(lambda: not build_threads._pool.away())
    turns = host_formats.calls["turns"]
    time.sleep(0.05)
    assert host_formats.calls["turns"] == turns
    assert Attempt.objects.get().detail == "BuildTimeout: the wire format did not return within 0.3 s"
