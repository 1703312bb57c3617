"""MsGine: flat bodies with documented keys, bare hex signature, six requests within 7½ hours.

Its Node sample verifies over `JSON.stringify(req.body)`, so that must not change bodies. The document promises a retry
after every response that is not 2xx, after a timeout and without a response, so no outcome has special rules.
It specifies neither the format of secrets nor when endpoints are disabled.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from webhooks_app.core.catalogue import EventType
from webhooks_app.core.envelope import Flat, iso_seconds
from webhooks_app.core.message import Message
from webhooks_app.core.retry import RetryPolicy
from webhooks_app.core.signing import HexScheme, SecretFormat
from webhooks_app.wire_formats.base import WireFormat


def _status(message: Message, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the status, the last word of the event's name, and for a failed message a reason."""
    status = message.type.rpartition(".")[2]
    if status != "failed":
        return {"status": status}
    return {"status": status, "failureReason": data.get("failureReason") or data.get("errorCode") or "Unknown"}


def _ids(message: Message, data: Mapping[str, Any]) -> dict[str, Any]:
    """`id` is the message's, as in `messageId`; an event that is about no message is known by its own id."""
    return {"id": data.get("messageId", message.id)}


WIRE_FORMAT = WireFormat(
    name="msgine",
    title="MsGine",
    scheme=HexScheme("X-MsGine-Signature"),
    envelope=Flat(
        order=(
            *("id", "event", "status", "to", "from", "timestamp"),
            *("messageId", "sid", "failureReason", "errorCode"),
        ),
        time=iso_seconds,
        always=_status,
        unless_given=_ids,
    ),
    secret_format=SecretFormat(
        prefix="", random_bytes=32, written_as="hex", key_from="utf8", min_key_bytes=16, max_key_bytes=256
    ),
    single_signature=True,
    retry=RetryPolicy.fixed(tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 360))),
    total_timeout=5.0,
    https_only=True,
    # By default, Express refuses bodies over 100 kB (102,400 bytes), and the sample code does not change that.
    warn_body_bytes=100_000,
    event_types=(
        EventType("message.sent", "The carrier took the message."),
        EventType("message.delivered", "The message arrived."),
        EventType("message.failed", "The message could not be delivered; failureReason says why."),
    ),
)
