"""Build the request that a receiver would get for an event type's example."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from webhooks_app.conf import settings
from webhooks_app.core.catalogue import EventType
from webhooks_app.core.message import Message
from webhooks_app.core.secrets import new_secret
from webhooks_app.core.signing import key_of
from webhooks_app.events.payload import serialise
from webhooks_app.exceptions import InvalidEvent
from webhooks_app.models.ids import new_id, public_id
from webhooks_app.wire_formats.base import WireFormat


@dataclass(frozen=True, slots=True)
class ExampleRequest:
    #: Names and values, in the order in which they are sent.
    headers: tuple[tuple[str, str], ...]
    body: bytes


def example_request(type_: EventType, wire_format: WireFormat, now: datetime) -> ExampleRequest | None:
    """Return the request that would be sent for the type's example; None if there is no example that can be sent.

    It is signed with a random secret: the signature looks real, but verifies with nobody's secret.
    """
    if type_.example is None:
        return None
    try:
        data = serialise(type_.example)
    except InvalidEvent:
        return None
    message = Message(id=public_id("evt", new_id()), type=type_.name, occurred_at=now, data=data)
    body = wire_format.envelope(message)
    key = key_of(new_secret(wire_format.secret_format), wire_format.secret_format)
    signature = wire_format.scheme.headers(
        message_id=message.id, timestamp=int(now.timestamp()), body=body, keys=(key,)
    )
    own = (("Content-Type", "application/json"), ("User-Agent", settings().USER_AGENT))
    return ExampleRequest((*own, *wire_format.extra_headers(message), *signature), body)
