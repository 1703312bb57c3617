"""Message: the input of envelopes and signatures, and the types of the functions that build a request from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Message:
    """One event, as passed to an envelope or a signature. `data` is the event's JSON text exactly as stored."""

    id: str  # public id, `evt_…`
    type: str
    occurred_at: datetime  # aware, UTC
    data: str = field(repr=False)


#: Builds the body. It must give the same bytes for the same message, every time: retries depend on it.
Envelope = Callable[[Message], bytes]
#: Returns additional headers of the wire format, besides the signature's: name, value.
ExtraHeaders = Callable[[Message], tuple[tuple[str, str], ...]]


def no_extra_headers(message: Message) -> tuple[tuple[str, str], ...]:
    """Return no headers: the standard wire format needs only the body and the signature's headers."""
    return ()
