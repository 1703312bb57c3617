"""Wire formats of hosts whose code takes its time, for the tests that show who waits for it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from tests.pipelines import PLAIN
from webhooks_app.core.message import Message
from webhooks_app.core.signing import StandardScheme
from webhooks_app.wire_formats.base import WireFormat
from webhooks_app.wire_formats.standard import standard_envelope

#: What the wire format that hangs waits for, and how often each of its parts was called.
released = threading.Event()
calls: Counter[str] = Counter()


def reset() -> None:
    released.clear()
    calls.clear()


def _hangs(message: Message) -> bytes:
    calls["hangs"] += 1
    released.wait(60)
    return standard_envelope(message)


def _hanging_headers(message: Message) -> tuple[tuple[str, str], ...]:
    calls["headers"] += 1
    released.wait(60)
    return ()


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
HOST_EXITS: WireFormat = replace(PLAIN, name="host_exits", envelope=_exits)
HOST_MOMENT: WireFormat = replace(PLAIN, name="host_moment", envelope=_takes_a_moment)

WIRE_FORMATS = {
    wire_format.name: f"tests.host_formats.{wire_format.name.upper()}"
    for wire_format in (HOST_HANGS, HOST_HEADERS_HANG, HOST_SCHEME_HANGS, HOST_BURNS, HOST_EXITS, HOST_MOMENT)
}
