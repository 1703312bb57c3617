"""Message: one event as envelopes and signatures see it, and the types of the functions that turn it into a request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Message:
    """One event as an envelope or a signature sees it. `data` is the event's JSON text exactly as it was stored."""

    id: str  # public id, `evt_…`
    type: str
    occurred_at: datetime  # aware, UTC
    data: str


#: Builds the body. It must give the same bytes for the same message, every time: retries depend on it.
Envelope = Callable[[Message], bytes]
#: Headers of the wire format's own beside the signature's: name, value.
ExtraHeaders = Callable[[Message], tuple[tuple[str, str], ...]]


def no_extra_headers(message: Message) -> tuple[tuple[str, str], ...]:
    """The standard wire format says everything in the body and the signature's headers."""
    return ()
