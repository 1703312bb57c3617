"""What the headers of a wire format say, in words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from django.utils.translation import gettext as _

from webhooks_app.core.message import Message
from webhooks_app.core.signing import HexScheme, StandardScheme, TimestampedHexScheme
from webhooks_app.wire_formats.base import WireFormat

_SAMPLE = Message(id="evt_0", type="message.delivered", occurred_at=datetime(2026, 1, 1, tzinfo=UTC), data="{}")


@dataclass(frozen=True, slots=True)
class Header:
    name: str
    meaning: str


def headers(wire_format: WireFormat) -> list[Header]:
    """Those of the signature first, then what the format adds."""
    extra = [
        Header(name, _("Tells of the event, such as %(value)s.") % {"value": value})
        for name, value in _extra(wire_format)
    ]
    return [*_of_signature(wire_format), *extra]


def signed_content(wire_format: WireFormat) -> str:
    """What the signature is made over; empty for a scheme of the host's own."""
    if isinstance(wire_format.scheme, StandardScheme):
        return "{webhook-id}.{webhook-timestamp}.{body}"
    if isinstance(wire_format.scheme, TimestampedHexScheme):
        return "{t}.{body}"
    return "{body}" if isinstance(wire_format.scheme, HexScheme) else ""


def is_dated(wire_format: WireFormat) -> bool:
    """Can a receiver tell how old a request is?"""
    return isinstance(wire_format.scheme, StandardScheme | TimestampedHexScheme)


def names_the_event(wire_format: WireFormat) -> bool:
    """Is the event's id in a header?"""
    return isinstance(wire_format.scheme, StandardScheme)


def _of_signature(wire_format: WireFormat) -> list[Header]:
    scheme = wire_format.scheme
    if isinstance(scheme, StandardScheme):
        return [
            Header("webhook-id", _("The event’s id. It is the same in every attempt: know repetitions by it.")),
            Header("webhook-timestamp", _("When this attempt was signed, in seconds since 1970.")),
            Header(
                "webhook-signature",
                _("“v1,” and the HMAC-SHA256 in base64. Several, with spaces between, while a secret is replaced."),
            ),
        ]
    if isinstance(scheme, TimestampedHexScheme):
        meaning = _(
            "“t=”, when this attempt was signed, in seconds since 1970; “v1=”, the HMAC-SHA256 in hex. Several “v1=” while "
            "a secret is replaced."
        )
        return [Header(scheme.header, meaning)]
    if isinstance(scheme, HexScheme):
        meaning = _("The HMAC-SHA256 in hex.")
        if scheme.prefix:
            meaning = _("“%(prefix)s” and the HMAC-SHA256 in hex.") % {"prefix": scheme.prefix}
        return [Header(scheme.header, meaning)]
    return [Header(name, _("Part of the signature.")) for name in scheme.header_names]


def _extra(wire_format: WireFormat) -> tuple[tuple[str, str], ...]:
    return wire_format.extra_headers(_SAMPLE)
