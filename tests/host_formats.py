"""Wire formats of hosts whose code takes its time, for the tests that show who waits for it."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from django.utils.functional import lazy

from tests.pipelines import PLAIN
from webhooks_app.core.message import Message
from webhooks_app.core.signing import StandardScheme
from webhooks_app.wire_formats.base import WireFormat
from webhooks_app.wire_formats.standard import standard_envelope

#: What the wire format that hangs waits for, and how often each of its parts was called.
released = threading.Event()
calls: Counter[str] = Counter()
#: The processes that the wire format that forks has started.
children: list[int] = []


def reset() -> None:
    released.clear()
    calls.clear()
    children.clear()


def _hangs(message: Message) -> bytes:
    calls["hangs"] += 1
    released.wait(60)
    return standard_envelope(message)


def _hanging_headers(message: Message) -> tuple[tuple[str, str], ...]:
    calls["headers"] += 1
    released.wait(60)
    return ()


def _hangs_for_a_tenant(message: Message) -> bytes:
    """Never returns for events that say so, until it is released."""
    body = standard_envelope(message)
    if b'"hangs"' in body:
        calls["hangs for a tenant"] += 1
        released.wait(60)
    return body


def _burns(message: Message) -> bytes:
    """Keeps a processor busy, and never returns until it is released."""
    calls["burns"] += 1
    while not released.is_set():
        pass
    return standard_envelope(message)


def _takes_a_moment(message: Message) -> bytes:
    time.sleep(0.02)
    return standard_envelope(message)


def _exits(message: Message) -> bytes:
    raise SystemExit("the host's wire format")


def _forks(message: Message) -> bytes:
    if child := os.fork():
        children.append(child)
        return standard_envelope(message)
    sys.exit(3)


def _loops(message: Message) -> bytes:
    """Never returns, and is not released."""
    calls["loops"] += 1
    while True:
        calls["turns"] += 1


def _backtracks(message: Message) -> bytes:
    """Keeps the interpreter for about a second, in which no other thread of the process runs."""
    calls["backtracks"] += 1
    for length in range(18, 60):
        began = time.thread_time()
        re.match("(a+)+$", "a" * length + "b")
        if time.thread_time() - began > 0.6:
            break
    return standard_envelope(message)


class OddError(Exception):
    """An exception whose text cannot be had."""

    def __str__(self) -> str:
        how = self.args[0]
        if how == "exits":
            raise SystemExit("in __str__")
        if how == "sleeps":
            time.sleep(3.0)
            return "at last"
        raise AttributeError("number")


def _fails_oddly(how: str) -> Callable[[Message], bytes]:
    def fail(message: Message) -> bytes:
        raise OddError(how)

    return fail


def _lazy_text() -> str:
    calls["lazy"] += 1
    time.sleep(3.0)
    return "computed late"


def _lazy_headers(message: Message) -> Any:
    return (("X-Region", lazy(_lazy_text, str)()),)


def _numbers_as_headers(message: Message) -> Any:
    return (("X-Number", 5),)


@dataclass(frozen=True, slots=True)
class HangingScheme(StandardScheme):
    """A subclass of one of the package's schemes."""

    def headers(self, **values: Any) -> Any:
        calls["scheme"] += 1
        released.wait(60)
        return StandardScheme.headers(self, **values)


HOST_HANGS: WireFormat = replace(PLAIN, name="host_hangs", envelope=_hangs)
HOST_HEADERS_HANG: WireFormat = replace(PLAIN, name="host_headers_hang", extra_headers=_hanging_headers)
HOST_SCHEME_HANGS: WireFormat = replace(PLAIN, name="host_scheme_hangs", scheme=HangingScheme())
HOST_BURNS: WireFormat = replace(PLAIN, name="host_burns", envelope=_burns)
HOST_BACKTRACKS: WireFormat = replace(PLAIN, name="host_backtracks", envelope=_backtracks)
HOST_EXITS: WireFormat = replace(PLAIN, name="host_exits", envelope=_exits)
HOST_FORKS: WireFormat = replace(PLAIN, name="host_forks", envelope=_forks)
HOST_MOMENT: WireFormat = replace(PLAIN, name="host_moment", envelope=_takes_a_moment)
HOST_LOOPS: WireFormat = replace(PLAIN, name="host_loops", envelope=_loops)
HOST_FAILS: WireFormat = replace(PLAIN, name="host_fails", envelope=_fails_oddly("fails"))
HOST_FAILS_EXITING: WireFormat = replace(PLAIN, name="host_fails_exiting", envelope=_fails_oddly("exits"))
HOST_FAILS_SLOWLY: WireFormat = replace(PLAIN, name="host_fails_slowly", envelope=_fails_oddly("sleeps"))
HOST_LAZY: WireFormat = replace(PLAIN, name="host_lazy", extra_headers=_lazy_headers)
HOST_NUMBER: WireFormat = replace(PLAIN, name="host_number", extra_headers=_numbers_as_headers)
HOST_HANGS_FOR_A_TENANT: WireFormat = replace(PLAIN, name="host_hangs_for_a_tenant", envelope=_hangs_for_a_tenant)
for _number in range(5):
    globals()[f"HOST_HANGS_FOR_{_number}"] = replace(HOST_HANGS_FOR_A_TENANT, name=f"host_hangs_for_{_number}")

WIRE_FORMATS = {
    value.name: f"tests.host_formats.{name}" for name, value in list(globals().items()) if name.startswith("HOST_")
}
