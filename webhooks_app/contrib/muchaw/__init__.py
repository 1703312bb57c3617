"""Muchaw DEV: nested bodies, hex signature with `sha256=`, four requests, endpoints scoped to numbers.

Its delays are "about" 30 s, 5 min and 30 min, so they have a little jitter. Every response that is not 2xx is retried;
only ten failures in a row disable the endpoint. A secret is shown as `whsec_…`, but the receiver uses the whole text,
including the prefix, as the key.
"""

from __future__ import annotations

from datetime import timedelta

from webhooks_app.core.catalogue import EventType
from webhooks_app.core.envelope import Nested, iso_ms
from webhooks_app.core.retry import RetryPolicy
from webhooks_app.core.signing import HexScheme, SecretFormat
from webhooks_app.wire_formats.base import WireFormat

WIRE_FORMAT = WireFormat(
    name="muchaw",
    title="Muchaw DEV",
    scheme=HexScheme("X-Muchaw-Signature", prefix="sha256="),
    envelope=Nested(order=("event", "timestamp", "data"), time=iso_ms),
    secret_format=SecretFormat(
        prefix="whsec_", random_bytes=32, written_as="hex", key_from="utf8", min_key_bytes=16, max_key_bytes=256
    ),
    single_signature=True,
    retry=RetryPolicy.fixed(
        (timedelta(seconds=30), timedelta(minutes=5), timedelta(minutes=30)),
        jitter=0.1,
        disable_after_failures=10,
        disable_after=None,
    ),
    # By default, Express refuses bodies over 100 kB (102,400 bytes), and the sample code does not change that.
    warn_body_bytes=100_000,
    channel_prefix="number:",
    event_types=(
        EventType("message.received", "Somebody wrote to the number."),
        EventType("message.sent", "Meta took the message."),
        EventType("message.delivered", "The message reached its recipient's device."),
        EventType("message.read", "The recipient read the message."),
        EventType("message.failed", "The message could not be delivered."),
        EventType("number.activated", "A number is set up and ready."),
        EventType("number.disconnected", "A number lost its connection."),
        EventType("number.banned", "Meta banned a number."),
    ),
)
