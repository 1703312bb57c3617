"""Check the request headers that a customer may add, and their values."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from webhooks_app.core.message import Message
from webhooks_app.exceptions import InvalidEndpoint, gettext_noop
from webhooks_app.wire_formats.base import WireFormat

MAX_HEADERS = 20
MAX_NAME = 64
MAX_VALUE = 4096
#: Characters of all names and values. Many servers refuse more than 8,192 bytes, and each request costs time to build.
MAX_TOTAL = 8192
_NAME = re.compile(r"[A-Za-z0-9-]+", re.ASCII)
# Visible ASCII with spaces inside; both HTTP libraries would accept CR, LF and NUL.
_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?", re.ASCII)

#: Only the app sets headers that decide how the request is framed, where it goes, or what it claims to be.
_REFUSED = frozenset(
    [
        "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "cookie", "date",
        "expect", "forwarded", "host", "keep-alive", "referer", "set-cookie", "te", "trailer", "transfer-encoding",
        "upgrade", "user-agent", "via",
    ]
)  # fmt: skip
_REFUSED_PREFIXES = ("proxy-", "x-forwarded-", "webhook-")


class KeepValue:
    """Marks a header whose stored value stays. The value is never shown, so the user cannot enter it again."""


KEEP_VALUE = KeepValue()

_SAMPLE = Message(id="evt_sample", type="sample.event", occurred_at=datetime(2024, 1, 1, tzinfo=UTC), data="{}")


def check_headers(headers: Mapping[str, str] | None, wire_format: WireFormat) -> dict[str, str]:
    """Return the headers as they will be sent. Raises InvalidEndpoint, which names the header but never its value."""
    if headers is None:
        return {}
    if not isinstance(headers, Mapping):
        raise _fault("`headers` is an object from names to values.")
    if len(headers) > MAX_HEADERS:
        raise _fault(
            gettext_noop("There are %(count)s headers; at most %(most)s are allowed."),
            count=len(headers),
            most=MAX_HEADERS,
        )
    taken = wire_format_header_names(wire_format)
    seen: set[str] = set()
    for name, value in headers.items():
        _check_name(name, taken)
        if name.lower() in seen:
            raise _fault(
                gettext_noop("The header %(name)s is given twice. Upper and lower case are the same."), name=name
            )
        if not isinstance(value, str) or len(value) > MAX_VALUE or not _VALUE.fullmatch(value):
            raise _fault(
                gettext_noop(
                    "The value of %(name)s must be 1 to %(most)s visible ASCII characters, with no space at its ends."
                ),
                name=name,
                most=MAX_VALUE,
            )
        seen.add(name.lower())
    total = sum(len(name) + len(value) for name, value in headers.items())
    if total > MAX_TOTAL:
        raise _fault(
            gettext_noop("All headers together have %(count)s characters; at most %(most)s are allowed."),
            count=total,
            most=MAX_TOTAL,
        )
    return dict(headers)


def with_kept_values(
    headers: Mapping[str, str | KeepValue] | None, stored: Callable[[], Mapping[str, str]]
) -> Mapping[str, str] | None:
    """Return the headers, with the stored value for each that is KEEP_VALUE. Calls `stored` only if there is one.

    Raises InvalidEndpoint that names a header without a stored value.
    """
    if not isinstance(headers, Mapping) or not any(value is KEEP_VALUE for value in headers.values()):
        return headers  # type: ignore[return-value]  # none of them is KEEP_VALUE, and the rest is for `check_headers` to judge
    values = stored()
    if gone := [name for name, value in headers.items() if value is KEEP_VALUE and name not in values]:
        raise _fault(
            gettext_noop("The value of %(name)s cannot be kept: enter it again, or remove the header."),
            name=f"{gone[0]!r:.100}",
        )
    return {name: values[name] if isinstance(value, KeepValue) else value for name, value in headers.items()}


def wire_format_header_names(wire_format: WireFormat) -> frozenset[str]:
    """Return the lower-case names of the headers that the wire format itself sends."""
    extra = (name.lower() for name, _ in wire_format.extra_headers(_SAMPLE))
    return frozenset(wire_format.scheme.header_names).union(extra)


def _check_name(name: object, taken: frozenset[str]) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise _fault(
            gettext_noop("%(name)s is no header name: use letters, digits and hyphens, at most %(most)s."),
            name=f"{name!r:.100}",
            most=MAX_NAME,
        )
    lower = name.lower()
    if lower in _REFUSED or lower.startswith(_REFUSED_PREFIXES):
        raise _fault(gettext_noop("The header %(name)s is set by us and cannot be changed."), name=name)
    if lower in taken:
        raise _fault(gettext_noop("The header %(name)s carries our signature; choose another name."), name=name)


def _fault(text: str, **values: object) -> InvalidEndpoint:
    return InvalidEndpoint(text, field="headers", **values)
