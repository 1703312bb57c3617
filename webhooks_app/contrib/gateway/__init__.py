"""A WhatsApp gateway whose document describes its REST API, but not its webhook requests.

For everything else the standard applies: Standard Webhooks' headers, body and retries. The document says that the
customer may provide a secret for HMAC, and its example is a short text (`"string"`). So any non-empty secret is accepted,
and the key is that text's UTF-8 bytes. Standard verifiers accept such a key as raw bytes.
"""

from __future__ import annotations

from webhooks_app.core.catalogue import EventType
from webhooks_app.core.envelope import standard_envelope
from webhooks_app.core.signing import SecretFormat, StandardScheme
from webhooks_app.wire_formats.base import WireFormat

WIRE_FORMAT = WireFormat(
    name="gateway",
    title="WhatsApp gateway",
    scheme=StandardScheme(),
    envelope=standard_envelope,
    secret_format=SecretFormat(
        prefix="", random_bytes=32, written_as="hex", key_from="utf8", min_key_bytes=1, max_key_bytes=1024
    ),
    https_only=True,
    numbers_endpoints=True,
    event_types=(
        EventType("message.received", "Somebody wrote to the connected number."),
        EventType("connection.connected", "The number's connection is up."),
    ),
)
