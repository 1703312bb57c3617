"""messages.dev: nested bodies with times in epoch milliseconds, bare hex signature, endpoints scoped to a line.

The document says nothing of retries, time-outs and switching off, so the standard's apply. Nor does it say how a
secret looks.
"""

from __future__ import annotations

from webhooks_app.core.catalogue import EventType
from webhooks_app.core.envelope import Nested, epoch_ms
from webhooks_app.core.signing import HexScheme, SecretFormat
from webhooks_app.wire_formats.base import WireFormat

WIRE_FORMAT = WireFormat(
    name="messages_dev",
    title="messages.dev",
    scheme=HexScheme("X-Webhook-Signature"),
    envelope=Nested(order=("event", "data", "timestamp"), time=epoch_ms),
    secret_format=SecretFormat(
        prefix="", random_bytes=32, written_as="hex", key_from="utf8", min_key_bytes=16, max_key_bytes=256
    ),
    single_signature=True,
    # By default, Express refuses bodies over 100 kB (102,400 bytes), and the sample code does not change that.
    warn_body_bytes=100_000,
    channel_prefix="line:",
    event_types=(
        EventType("message.received", "Somebody wrote to the line."),
        EventType("message.sent", "A message from the line was delivered."),
        EventType("reaction.added", "Somebody reacted to a message."),
        EventType("reaction.removed", "Somebody took a reaction back."),
        EventType("typing.started", "Somebody began to type."),
        EventType("typing.stopped", "Somebody stopped typing."),
        EventType("receipt.read", "Somebody read a message."),
    ),
)
