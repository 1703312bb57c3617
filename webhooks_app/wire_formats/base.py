"""The value type `WireFormat`: everything about requests that may differ between products."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from webhooks_app.core.catalogue import EventType
from webhooks_app.core.message import Envelope, ExtraHeaders, no_extra_headers
from webhooks_app.core.retry import RetryPolicy
from webhooks_app.core.signing import SchemeHelp, SecretFormat, SignatureScheme
from webhooks_app.core.validation import (
    check_callables,
    check_collection,
    check_flags,
    check_instance,
    check_seconds,
    check_texts,
    check_whole_numbers,
    reject,
)

#: The maximum length of a wire format's name, as in the columns that store it.
MAX_NAME = 64
#: The maximum timeout (seconds), longer than any receiver should need.
MAX_TIMEOUT = 3600.0
_MOST_BYTES = 2**31 - 1
#: A header's name (RFC 9110), in lower case.
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class WireFormat:
    """The format of one product's webhook requests, and their retry policy.

    `secret_format`, `retry` and the rules in it are plain values: the engine's threads use them and do not wait for code of the
    host's, so their subclasses are refused. Raises ConfigurationError for an invalid field, so that nothing fails when a webhook
    is sent.
    """

    name: str
    #: The displayed name of the product.
    title: str
    scheme: SignatureScheme
    envelope: Envelope
    extra_headers: ExtraHeaders = no_extra_headers
    secret_format: SecretFormat = field(default_factory=SecretFormat)
    #: True: during a rotation only one signature is sent at a time; see `engine.sending_thread` for how the overlap works then.
    single_signature: bool = False
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    #: The timeouts in seconds: for the connection (TLS included), and for the whole exchange.
    connect_timeout: float = 5.0
    total_timeout: float = 15.0
    #: Refuse http:// even if the settings allow it (except loopback in a development set-up).
    https_only: bool = False
    #: Log a warning if a body is larger than this many bytes (None: never), because known receivers refuse such bodies.
    warn_body_bytes: int | None = None
    #: The event types that the product documents, for its pages and its catalogue; empty: the host's own alone.
    event_types: tuple[EventType, ...] = ()
    #: True: the product's customers identify webhooks by integers, so each endpoint gets one when it is created.
    numbers_endpoints: bool = False
    #: The channel prefix of the product's own scope (a number, a line), e.g. `number:`; empty: it has none.
    channel_prefix: str = ""

    def __post_init__(self) -> None:
        check_texts(self, "name", "title", "channel_prefix")
        if not 0 < len(self.name) <= MAX_NAME:
            reject(self, "name", f"a text of 1 to {MAX_NAME} characters")
        self._check_scheme()
        check_callables(self, "envelope", "extra_headers")
        check_instance(self, "secret_format", SecretFormat)
        check_instance(self, "retry", RetryPolicy)
        check_flags(self, "single_signature", "https_only", "numbers_endpoints")
        check_seconds(self, "connect_timeout", "total_timeout", most=MAX_TIMEOUT)
        check_whole_numbers(self, "warn_body_bytes", least=1, most=_MOST_BYTES, none=True)
        check_collection(self, "event_types", tuple, EventType, "a plain tuple of EventType (no subclasses)")

    def _check_scheme(self) -> None:
        names = getattr(self.scheme, "header_names", None)
        known = isinstance(names, tuple) and all(isinstance(name, str) and _HEADER.fullmatch(name) for name in names)
        if not (known and callable(getattr(self.scheme, "headers", None))):
            reject(self, "scheme", "a signature scheme with `headers()` and lower-case `header_names`")
        if not isinstance(getattr(self.scheme, "help", None), SchemeHelp | None):
            reject(self, "scheme", "a signature scheme whose `help`, if it has any, is a SchemeHelp")
