"""Build the request that a receiver would get for an event type's example."""

from __future__ import annotations

from datetime import datetime

from webhooks_app.conf import settings
from webhooks_app.core.catalogue import EventType
from webhooks_app.core.message import Message
from webhooks_app.core.secrets import new_secret
from webhooks_app.core.signing import Headers, key_of
from webhooks_app.engine.requests import headers_in_order, signature_headers
from webhooks_app.events.payload import serialise
from webhooks_app.exceptions import InvalidEvent
from webhooks_app.models.ids import new_id, public_id
from webhooks_app.wire_formats.base import WireFormat


def example_request(type_: EventType, wire_format: WireFormat, now: datetime) -> tuple[Headers, bytes] | None:
    """Return headers and body of the request that would be sent for the type's example; None if no example can be sent.

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
    signature = signature_headers(wire_format, message, body, now, (key,))
    return headers_in_order(wire_format, message, settings().USER_AGENT, (), signature), body
