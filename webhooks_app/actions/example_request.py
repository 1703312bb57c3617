"""What a receiver would get: a request made of a type's example, as it would be on the wire."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from webhooks_app.conf import settings
from webhooks_app.core.catalogue import EventType
from webhooks_app.core.profile import Message, Profile
from webhooks_app.core.secrets import new_secret
from webhooks_app.core.signing import key_of
from webhooks_app.events.payload import serialise
from webhooks_app.exceptions import InvalidEvent
from webhooks_app.models.ids import new_id, public_id


@dataclass(frozen=True, slots=True)
class ExampleRequest:
    #: Names and values, in the order in which they are sent.
    headers: tuple[tuple[str, str], ...]
    body: bytes


def example_request(type_: EventType, profile: Profile, now: datetime) -> ExampleRequest | None:
    """The request that would be sent for the type's example; None where it has none that can be sent.

    It is signed with a secret made up for it: the signature looks like a real one, and fits nobody's.
    """
    if type_.example is None:
        return None
    try:
        data = serialise(type_.example)
    except InvalidEvent:
        return None
    message = Message(id=public_id("evt", new_id()), type=type_.name, occurred_at=now, data=data)
    body = profile.envelope(message)
    key = key_of(new_secret(profile.secret_format), profile.secret_format)
    signature = profile.scheme.headers(message_id=message.id, timestamp=int(now.timestamp()), body=body, keys=(key,))
    own = (("Content-Type", "application/json"), ("User-Agent", settings().USER_AGENT))
    return ExampleRequest((*own, *profile.extra_headers(message), *signature), body)
