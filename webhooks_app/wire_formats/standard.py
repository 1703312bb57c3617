"""Standard Webhooks, the default: see https://www.standardwebhooks.com."""

from __future__ import annotations

from webhooks_app.core.envelope import standard_envelope
from webhooks_app.core.signing import StandardScheme
from webhooks_app.wire_formats.base import WireFormat

WIRE_FORMAT = WireFormat(
    name="standard",
    title="Standard Webhooks",
    scheme=StandardScheme(),
    envelope=standard_envelope,
)
