"""Explain the headers of a wire format."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from django.utils.translation import gettext as _

from webhooks_app.core.message import Message
from webhooks_app.core.scheme_help import help_of
from webhooks_app.wire_formats.base import WireFormat

_SAMPLE = Message(id="evt_0", type="message.delivered", occurred_at=datetime(2026, 1, 1, tzinfo=UTC), data="{}")


@dataclass(frozen=True, slots=True)
class Header:
    name: str
    meaning: str


def headers(wire_format: WireFormat) -> list[Header]:
    """Return the headers of the signature, then those that the format adds."""
    extra = [
        Header(name, _("Tells of the event, such as %(value)s.") % {"value": value})
        for name, value in _extra(wire_format)
    ]
    return [*_of_signature(wire_format), *extra]


def _of_signature(wire_format: WireFormat) -> list[Header]:
    described = help_of(wire_format.scheme).headers
    return [Header(one.name, _(one.meaning) % one.values if one.values else _(one.meaning)) for one in described]


def _extra(wire_format: WireFormat) -> tuple[tuple[str, str], ...]:
    return wire_format.extra_headers(_SAMPLE)
