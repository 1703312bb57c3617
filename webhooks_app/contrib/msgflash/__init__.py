"""MsgFlash: flat bodies, hex signature with `sha256=`, five requests.

The document promises a retry after every response that is not 2xx, so no status has special rules. It says
"exponential" and "5 attempts" but no times: the delays are 1, 2, 4 and 8 minutes. It names no scope and no number of
failures after which an endpoint is disabled, so the standard's days apply.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from webhooks_app.core.catalogue import EventType
from webhooks_app.core.envelope import Flat, iso_ms
from webhooks_app.core.message import Message
from webhooks_app.core.retry import RetryPolicy
from webhooks_app.core.signing import HexScheme, SecretFormat
from webhooks_app.wire_formats.base import WireFormat


def _status(message: Message, data: Mapping[str, Any]) -> dict[str, str]:
    """Return the default of a message's status: the last word of its event's name."""
    family, _, status = message.type.rpartition(".")
    return {"status": status} if family == "message" else {}


def _event_header(message: Message) -> tuple[tuple[str, str], ...]:
    return (("X-MsgFlash-Event", message.type),)


WIRE_FORMAT = WireFormat(
    name="msgflash",
    title="MsgFlash",
    scheme=HexScheme("X-MsgFlash-Signature", prefix="sha256="),
    envelope=Flat(
        order=("event", "instanceId", "messageId", "providerMessageId", "to", "status", "timestamp"),
        time=iso_ms,
        unless_given=_status,
    ),
    extra_headers=_event_header,
    # Bare text of which the receiver uses every character. Older secrets may be of any form, so the bounds are wide.
    secret_format=SecretFormat(
        prefix="", random_bytes=32, written_as="hex", key_from="utf8", min_key_bytes=16, max_key_bytes=256
    ),
    single_signature=True,
    retry=RetryPolicy.fixed(tuple(timedelta(minutes=minutes) for minutes in (1, 2, 4, 8))),
    https_only=True,
    # By default, Express refuses bodies over 100 kB (102,400 bytes), and the sample code does not change that.
    warn_body_bytes=100_000,
    event_types=(
        EventType("instance.connected", "An instance came online."),
        EventType("instance.disconnected", "An instance went offline."),
        EventType("message.sent", "A message left for its recipient."),
        EventType("message.delivered", "A message reached its recipient's device."),
        EventType("message.read", "The recipient opened a message."),
        EventType("message.failed", "A message could not be delivered."),
        EventType("message.received", "Somebody wrote to the instance."),
    ),
)
