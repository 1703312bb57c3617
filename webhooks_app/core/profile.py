"""The Profile value type: everything about the wire that a product may want different."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from webhooks_app.core.catalogue import EventType
from webhooks_app.core.retry import RetryPolicy
from webhooks_app.core.signing import SecretFormat, SignatureScheme


@dataclass(frozen=True, slots=True)
class Message:
    """One event as an envelope or a signature sees it. `data` is the event's JSON text exactly as it was stored."""

    id: str  # public id, `evt_…`
    type: str
    occurred_at: datetime  # aware, UTC
    data: str


#: Builds the body. It must give the same bytes for the same message, every time: retries depend on it.
Envelope = Callable[[Message], bytes]
#: Headers of the profile's own beside the signature's: name, value.
ExtraHeaders = Callable[[Message], tuple[tuple[str, str], ...]]


def no_extra_headers(message: Message) -> tuple[tuple[str, str], ...]:
    """The standard profile says everything in the body and the signature's headers."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How one product's webhooks look on the wire, and how patient they are. Plain values; no behaviour of its own."""

    name: str
    #: For people: whose wire format this is.
    title: str
    scheme: SignatureScheme
    envelope: Envelope
    extra_headers: ExtraHeaders = no_extra_headers
    secret_format: SecretFormat = field(default_factory=SecretFormat)
    #: True: during a rotation only one signature is sent at a time; see `pipeline.send` for how the overlap works then.
    single_signature: bool = False
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    #: Seconds until connected (TLS included), and until the whole exchange must be over.
    connect_timeout: float = 5.0
    total_timeout: float = 15.0
    #: Refuse http:// even where the settings allow it (loopback in a development set-up excepted).
    https_only: bool = False
    #: Warn in the log where a body is larger than this many bytes (None: never), since known receivers stop there.
    warn_body_bytes: int | None = None
    #: The event types that the product documents, for its pages and its catalogue; empty: the host's own alone.
    event_types: tuple[EventType, ...] = ()
    #: Data keys the host may not override in a flat envelope; for documentation and checks.
    reserved_keys: frozenset[str] = frozenset()
    #: True: the product's customers know their webhooks by whole numbers, so each gets one as it is made.
    numbers_endpoints: bool = False
    #: What the product's own scope (a number, a line) is called as a channel, e.g. `number:`; empty: it has none.
    channel_prefix: str = ""
