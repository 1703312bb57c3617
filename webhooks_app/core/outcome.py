"""The outcome of one HTTP request. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache


class OutcomeKind(StrEnum):
    """The kinds of outcomes of one HTTP request. The values are stored with the attempt."""

    SUCCEEDED = "succeeded"  # a 2xx response
    REDIRECT = "redirect"  # a 3xx response, never followed
    CLIENT_ERROR = "client_error"  # a 4xx response
    SERVER_ERROR = "server_error"  # a 5xx response, or a status outside 100–599
    TIMEOUT = "timeout"  # the total deadline, or the connect deadline, passed
    REFUSED = "refused"  # no connection: refused, reset while connecting, unreachable
    NAME_ERROR = "name_error"  # the host name does not resolve
    TLS_ERROR = "tls_error"  # the certificate or handshake is not valid
    PROTOCOL_ERROR = "protocol_error"  # connected, but no valid HTTP response arrived
    ADDRESS_NOT_ALLOWED = "address_not_allowed"  # the name resolved to an address that is not allowed
    AUTHENTICATION_FAILED = "authentication_failed"  # the customer's token server issued no token; nothing was sent
    NOT_SENT = "not_sent"  # a fault on our side, for example a signing key that cannot be decrypted
    EXPIRED = "expired"  # pending for too long: behind an open breaker, or paused or disabled; no request was made
    QUARANTINED = "quarantined"  # crashed an engine: it is isolated, or has reached its maximum age since


@dataclass(frozen=True, slots=True)
class Outcome:
    """One finished request. `retry_after` is in seconds from its end, None if the response has none."""

    kind: OutcomeKind
    status: int | None = None
    retry_after: float | None = None
    #: The error text of the network or the library, for staff.
    detail: str = ""

    @property
    def succeeded(self) -> bool:
        return self.kind is OutcomeKind.SUCCEEDED


@lru_cache(maxsize=1024)
def outcome_of_status(status: int, retry_after: float | None = None) -> Outcome:
    """Return the `Outcome` of an HTTP status; only 2xx is success."""
    if 200 <= status < 300:
        kind = OutcomeKind.SUCCEEDED
    elif 300 <= status < 400:
        kind = OutcomeKind.REDIRECT
    elif 400 <= status < 500:
        kind = OutcomeKind.CLIENT_ERROR
    else:
        kind = OutcomeKind.SERVER_ERROR
    return Outcome(kind, status, retry_after)


#: No request reached the endpoint, for reasons outside of it: these say nothing about its health.
UNSENT_KINDS = frozenset({OutcomeKind.NOT_SENT, OutcomeKind.EXPIRED, OutcomeKind.QUARANTINED})
#: No response in time, or no connection: how an overloaded receiver behaves if it does not respond with 503.
SLOWING_KINDS = frozenset({OutcomeKind.TIMEOUT, OutcomeKind.REFUSED})
