"""Code of the host's that never returns keeps its threads: other tenants and other wire formats have theirs nevertheless."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator

import pytest

from tests import host_formats
from tests.conftest import Configure
from tests.factories import TenantFactory
from tests.pipelines import WIRE_FORMATS, endpoint_at, eventually, pending_event, running_engine
from tests.receiver import Receiver
from webhooks_app.engine import build_threads
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.options import EngineOptions
from webhooks_app.models import Tenant

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]

#: Wire formats whose envelope hangs for one tenant's events, or for all.
FORMATS = [f"host_hangs_for_{number}" for number in range(5)]
OPTIONS = EngineOptions(build_seconds=0.3)


@pytest.fixture(autouse=True)
def _host(pipeline: object, configure: Configure, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    host_formats.reset()
    monkeypatch.setattr(build_threads, "_faults", FaultLog())
    configure(WIRE_FORMATS={**WIRE_FORMATS, **host_formats.WIRE_FORMATS})
    yield
    host_formats.released.set()
    eventually(lambda: not build_threads._pool.away())  # they count for the engines of the next test


def hostile_tenant(receiver: Receiver, formats: list[str], events: int = 10) -> Tenant:
    """A tenant whose events make these wire formats hang."""
    tenant = TenantFactory()
    for wire_format in formats:
        endpoint_at(receiver, "/bad", wire_format=wire_format, tenant=tenant)
    for _ in range(events):
        pending_event(tenant, data='{"hangs": true}')
    return tenant


def the_others_are_served(receiver: Receiver, formats: list[str]) -> None:
    good = TenantFactory()
    for number, wire_format in enumerate(formats):
        endpoint_at(receiver, f"/good/{number}", wire_format=wire_format, tenant=good)
    for events in range(1, 4):
        pending_event(good)
        for number in range(len(formats)):
            receiver.wait_for(events, path=f"/good/{number}")


def test_a_tenant_has_no_more_threads_with_several_wire_formats(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    tenant = hostile_tenant(receiver, FORMATS[:4])
    with running_engine(options=OPTIONS):
        eventually(lambda: f"has not returned from 2 requests of tenant {tenant.pk}" in caplog.text)
        the_others_are_served(receiver, FORMATS)
        assert host_formats.calls["hangs for a tenant"] == 2
        host_formats.released.set()
    assert caplog.text.count("has not returned from") == 1


def test_stuck_threads_of_several_tenants_are_replaced(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    tenants = [hostile_tenant(receiver, [wire_format]) for wire_format in FORMATS[:1] * 3 + FORMATS[1:3]]
    with running_engine(options=EngineOptions(build_seconds=0.3)):
        for tenant in tenants:
            eventually(lambda tenant=tenant: f"2 requests of tenant {tenant.pk}" in caplog.text)  # type: ignore[misc]
        the_others_are_served(receiver, FORMATS)
        assert host_formats.calls["hangs for a tenant"] == 10
        host_formats.released.set()


def test_the_stuck_threads_of_a_wire_format_are_bounded(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(6):
        hostile_tenant(receiver, FORMATS[:1])
    with running_engine(options=OPTIONS):
        eventually(lambda: f"8 requests of the wire format {FORMATS[0]}" in caplog.text)
        the_others_are_served(receiver, FORMATS[1:])
        assert host_formats.calls["hangs for a tenant"] == 8
        host_formats.released.set()


def test_a_wire_format_without_stuck_threads_has_some_in_reserve(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    for wire_format in FORMATS[:3]:
        for _ in range(4):
            hostile_tenant(receiver, [wire_format], events=3)
    with running_engine(options=OPTIONS):
        eventually(lambda: "requests of all tenants" in caplog.text)
        the_others_are_served(receiver, FORMATS[3:])
        assert 12 <= host_formats.calls["hangs for a tenant"] <= 14
        host_formats.released.set()


def test_stuck_threads_are_bounded_in_total(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    for wire_format in FORMATS:
        for _ in range(4):
            hostile_tenant(receiver, [wire_format], events=3)
    with running_engine(options=OPTIONS):
        eventually(lambda: "requests of all tenants" in caplog.text)
        time.sleep(1.0)
        endpoint = endpoint_at(receiver, "/plain", wire_format="plain")
        pending_event(endpoint.tenant)
        receiver.wait_for(1, path="/plain")
        assert 12 <= host_formats.calls["hangs for a tenant"] <= 16
        host_formats.released.set()


def engine_in_a_process(**options: object) -> subprocess.CompletedProcess[str]:
    """Build requests that never return in a process, and run an engine in it for a moment, which has nothing to deliver."""
    code = f"""
        import threading
        import django
        django.setup()
        from django.conf import settings
        settings.DATABASES["default"]["NAME"] = ":memory:"
        from django.core.management import call_command
        from tests.unit.windows import a_delivery, a_queue
        from webhooks_app.engine.build_threads import BuildThreads
        from webhooks_app.engine.options import EngineOptions
        from webhooks_app.engine.run import run
        options = EngineOptions(build_seconds=0.1, stalled_after=1.0, stuck_builds_of_format=2, drain_seconds=0.1, **{options!r})
        threads = BuildThreads(options, lambda: None)
        for _ in range(2):
            queue = a_queue()
            threads.start(a_delivery(queue), queue.config, threading.Event().wait)
        run(until=lambda progress: progress.seconds > 4.0, options=options)
        print("went on")
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_process_that_only_delivers_ends_where_all_are_stuck() -> None:
    done = engine_in_a_process(frozen_after=15.0)
    assert (done.returncode, done.stdout) == (70, ""), done.stderr
    assert "this process stops and ends with code 70" in done.stderr


@pytest.mark.processes
def test_a_process_that_does_more_goes_on_where_all_are_stuck() -> None:
    done = engine_in_a_process()
    assert (done.returncode, done.stdout) == (0, "went on\n"), done.stderr
