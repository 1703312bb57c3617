"""Wire formats of hosts that made a mistake, for the tests that show whom it costs something."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from webhooks_app.core.message import Message
from webhooks_app.wire_formats.base import WireFormat
from webhooks_app.wire_formats.standard import WIRE_FORMAT as STANDARD


def _raise(error: BaseException) -> Any:
    def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


class _Scheme:
    """A signature scheme that does not work."""

    header_names = ("x-signature",)

    def headers(self, **_: object) -> Any:
        raise ZeroDivisionError("the signature scheme has a bug")


def _number_header(message: Message) -> Any:
    return (("X-Attempt", 1),)


def _no_bytes(message: Message) -> Any:
    return {"a": "dict and no bytes"}


ENVELOPE_RAISES: WireFormat = replace(STANDARD, name="envelope_raises", envelope=_raise(KeyError("order")))
ENVELOPE_RECURSES: WireFormat = replace(STANDARD, name="envelope_recurses", envelope=_raise(RecursionError("too deep")))
ENVELOPE_NO_BYTES: WireFormat = replace(STANDARD, name="envelope_no_bytes", envelope=_no_bytes)
HEADER_NO_TEXT: WireFormat = replace(STANDARD, name="header_no_text", extra_headers=_number_header)
HEADERS_RAISE: WireFormat = replace(
    STANDARD, name="headers_raise", extra_headers=_raise(RuntimeError("no headers today"))
)
SCHEME_RAISES: WireFormat = replace(STANDARD, name="scheme_raises", scheme=_Scheme())  # type: ignore[arg-type]

WIRE_FORMATS = {
    wire_format.name: f"tests.faulty_hosts.{wire_format.name.upper()}"
    for wire_format in (
        ENVELOPE_RAISES,
        ENVELOPE_RECURSES,
        ENVELOPE_NO_BYTES,
        HEADER_NO_TEXT,
        HEADERS_RAISE,
        SCHEME_RAISES,
    )
} | {"exits_at_import": "tests.faulty_module.WIRE_FORMAT", "nowhere": "tests.no_such_module.WIRE_FORMAT"}


def exit_the_process(**_: object) -> None:
    """A receiver of a signal that misbehaves."""
    sys.exit("a receiver of the host")
