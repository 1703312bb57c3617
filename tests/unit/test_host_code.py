"""Which wire formats call code of the host's, and what their threads may do."""

from __future__ import annotations

import functools
import importlib
import os
import pkgutil
import threading
from dataclasses import replace
from typing import Any

import pytest

from tests.pipelines import eventually
from tests.unit.windows import a_delivery, a_queue
from webhooks_app import wire_formats
from webhooks_app.core.envelope import Flat, Nested, iso_ms
from webhooks_app.core.message import Message
from webhooks_app.core.signing import HexScheme, StandardScheme
from webhooks_app.engine.build_threads import BuildThreads, BuildTimeout
from webhooks_app.engine.host_code import runs_host_code
from webhooks_app.engine.options import EngineOptions
from webhooks_app.transport import Request
from webhooks_app.wire_formats.base import WireFormat
from webhooks_app.wire_formats.standard import WIRE_FORMAT, standard_envelope


class OwnScheme(StandardScheme):
    """A subclass of the host's."""


class OwnWireFormat(WireFormat):
    """Its fields may be properties."""


class OwnEnvelope:
    def __call__(self, message: Message) -> bytes:
        return b""

    def method(self, message: Message) -> bytes:
        return b""


@functools.wraps(standard_envelope)
def disguised(message: Message) -> bytes:
    return b""


def own_fields(message: Message, data: Any) -> Any:
    return {}


def no_bytes(message: Message) -> bytes:
    return b""


BUILT_IN = [
    module.WIRE_FORMAT
    for info in pkgutil.iter_modules(wire_formats.__path__, "webhooks_app.wire_formats.")
    if hasattr(module := importlib.import_module(info.name), "WIRE_FORMAT")
]
BUILT = Request(None, "https://example.com/", (), b"{}")
ORDER = ("event", "timestamp", "data")


@pytest.mark.parametrize("wire_format", BUILT_IN, ids=lambda wire_format: wire_format.name)
def test_the_wire_formats_of_this_package_do_not(wire_format: WireFormat) -> None:
    assert not runs_host_code(wire_format)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"envelope": Nested(order=ORDER, time=iso_ms)},
        {"envelope": Flat(order=ORDER)},
        {"scheme": HexScheme("X-Own")},
    ],
)
def test_wire_formats_made_of_our_parts_do_not(values: dict[str, Any]) -> None:
    assert not runs_host_code(replace(WIRE_FORMAT, name="made", **values))


@pytest.mark.parametrize(
    "values",
    [
        {"envelope": no_bytes},
        {"envelope": lambda message: b""},
        {"envelope": disguised},
        {"envelope": OwnEnvelope()},
        {"envelope": OwnEnvelope().method},
        {"envelope": functools.partial(standard_envelope)},
        {"envelope": Nested(order=ORDER, time=lambda moment: 0)},
        {"envelope": Flat(always=own_fields)},
        {"extra_headers": lambda message: ()},
        {"scheme": OwnScheme()},
    ],
)
def test_wire_formats_with_a_part_of_the_hosts_do(values: dict[str, Any]) -> None:
    assert runs_host_code(replace(WIRE_FORMAT, name="own", **values))


def test_a_subclass_of_wire_format_does() -> None:
    assert runs_host_code(OwnWireFormat(name="own", title="", scheme=StandardScheme(), envelope=standard_envelope))


def test_late_builds_are_given_up_and_their_threads_counted() -> None:
    released = threading.Event()
    queue, built = a_queue(), threading.Event()
    threads = BuildThreads(EngineOptions(build_seconds=0.2, build_threads_of_tenant=2), built.set)
    for _ in range(2):
        threads.start(a_delivery(queue), queue.config, lambda: released.wait(30))  # type: ignore[arg-type, return-value]
    assert threads.must_wait(queue.config)
    assert not threads.are_lost(queue.config)
    assert not threads.must_wait(a_queue().config)  # of another tenant
    late = []
    eventually(lambda: late.extend(threads.take()) or len(late) == 2)
    assert all(isinstance(build.error, BuildTimeout) and build.request is None for build in late)
    assert threads.are_lost(queue.config)
    assert not threads.must_wait(queue.config)
    released.set()
    assert built.wait(20)
    eventually(lambda: not threads.take() and not threads.are_lost(queue.config))
    threads.start(a_delivery(queue), queue.config, lambda: BUILT)
    [build] = eventually(threads.take)
    assert build.request is not None
    assert build.error is None


def test_threads_that_never_return_count_for_all_engines_of_the_process() -> None:
    released = threading.Event()
    queue, options = a_queue(), EngineOptions(build_seconds=0.2, build_threads_of_tenant=2)
    ended, running = BuildThreads(options, lambda: None), BuildThreads(options, lambda: None)
    for _ in range(2):
        ended.start(a_delivery(queue), queue.config, lambda: released.wait(30))  # type: ignore[arg-type, return-value]
    try:
        # Nobody asks the engine that started them any more.
        eventually(lambda: running.are_lost(queue.config))
        assert not running.must_wait(queue.config)
        assert not running.are_lost(a_queue().config)  # of another tenant
        assert running.take() == []
    finally:
        released.set()
    eventually(lambda: not running.are_lost(queue.config))
    assert running.take() == []


def test_a_thread_goes_on_where_its_engine_cannot_be_woken() -> None:
    queue, calls = a_queue(), []

    def wake() -> None:
        calls.append(threading.current_thread())
        raise RuntimeError("the engine has ended")

    threads = BuildThreads(EngineOptions(), wake)
    for _ in range(2):
        threads.start(a_delivery(queue), queue.config, lambda: BUILT)
        [build] = eventually(threads.take)
        assert build.request is not None
    eventually(lambda: len(calls) == 2)
    assert all(thread.is_alive() for thread in calls)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_has_no_threads_away() -> None:
    released = threading.Event()
    queue = a_queue()
    threads = BuildThreads(EngineOptions(build_threads_of_tenant=1), lambda: None)
    threads.start(a_delivery(queue), queue.config, lambda: released.wait(30))  # type: ignore[arg-type, return-value]
    assert threads.must_wait(queue.config)
    try:
        child = os.fork()
        if not child:
            os._exit(threads.must_wait(queue.config))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        released.set()
