"""The request for an access token and its response: OAuth 2.0 client credentials (RFC 6749, section 4.4). Pure."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from urllib.parse import quote_plus, urlencode

from webhooks_app.core.authentication import B64TOKEN, HEADER, AccessToken, Authentication, basic
from webhooks_app.core.outcome import OutcomeKind

#: The longest access token that is sent: receivers limit their headers to 8 KiB or more.
MAX_TOKEN = 8000
#: How much of a response is read (bytes).
MAX_RESPONSE = 16 * 1024
#: How long a token is used if the token server does not say how long it is valid, and at most (seconds).
DEFAULT_SECONDS = 300.0
LONGEST_SECONDS = 86_400.0
#: How long before its end a token is replaced: a quarter of its time, at most this (seconds).
_MARGIN = 60.0
#: The errors of RFC 6749, sections 4.1.2.1 and 5.2. No other text of the response is kept: it may repeat the client secret.
_ERRORS = frozenset(
    [
        "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type",
        "invalid_scope", "access_denied", "server_error", "temporarily_unavailable", "invalid_target",
    ]
)  # fmt: skip
#: Why no response arrived, in words that reveal no address.
_FAILURES = {
    OutcomeKind.TIMEOUT: "the token server did not respond in time",
    OutcomeKind.REFUSED: "no connection to the token server",
    OutcomeKind.NAME_ERROR: "the host name of the token URL cannot be resolved",
    OutcomeKind.TLS_ERROR: "no secure connection to the token server: its certificate or the TLS handshake is not valid",
    OutcomeKind.ADDRESS_NOT_ALLOWED: "the token URL leads to an address that is not allowed",
}
_NO_VALID_RESPONSE = "the token server sent no valid HTTP response"


class TokenRefused(Exception):
    """No token can be read from the response. The text says why; it contains nothing that the token server chose."""


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A POST request to the token server."""

    url: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)


def token_request(authentication: Authentication, agent: str) -> TokenRequest:
    """Return the request for a new token. `agent`: the User-Agent."""
    values = authentication.values
    parameters = {"grant_type": "client_credentials"}
    parameters |= {name: values[name] for name in ("scope", "audience", "resource") if name in values}
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Accept": "application/json",
        "User-Agent": agent,
    }
    if values.get("client_authentication") == "body":
        parameters |= {"client_id": values["client_id"], "client_secret": values["client_secret"]}
    else:  # section 2.3.1: both are form-encoded first
        headers[HEADER] = basic(quote_plus(values["client_id"]), quote_plus(values["client_secret"]))
    return TokenRequest(values["token_url"], tuple(headers.items()), urlencode(parameters).encode())


def failure_in_words(kind: OutcomeKind) -> str:
    """Return why the token server gave no response."""
    return _FAILURES.get(kind, _NO_VALID_RESPONSE)


def read_token(status: int, body: bytes, *, truncated: bool) -> AccessToken:
    """Return the token in a response. Raises TokenRefused."""
    if not 200 <= status < 300:
        raise TokenRefused(f"the token server responded {status} {_error_in(body)}".rstrip())
    if truncated:
        raise TokenRefused("the token server's response is too long or incomplete")
    found = _object_in(body)
    if found is None:
        raise TokenRefused("the token server's response is not a JSON object")
    if error := _error_in(body):
        raise TokenRefused(f"the token server responded {status} {error}")
    kind, value = found.get("token_type"), found.get("access_token")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise TokenRefused("the token server's response has no token_type Bearer")
    if not isinstance(value, str) or len(value) > MAX_TOKEN or not B64TOKEN.fullmatch(value):
        raise TokenRefused("the token server's response has no access_token that can be sent")
    return AccessToken(value, _usable_seconds(found.get("expires_in")))


def _usable_seconds(expires_in: object) -> float:
    """Return how long to use a token that is valid for `expires_in` seconds. Some servers write the number as a string."""
    if expires_in is None:
        return DEFAULT_SECONDS
    if isinstance(expires_in, str) and expires_in.isascii() and expires_in.isdigit() and len(expires_in) <= 10:
        expires_in = int(expires_in)
    if isinstance(expires_in, bool) or not isinstance(expires_in, (int, float)) or not 0 < expires_in < math.inf:
        raise TokenRefused("the token server's response has an expires_in that is not a positive number")
    seconds = float(min(expires_in, LONGEST_SECONDS))
    return seconds - min(_MARGIN, seconds / 4)


def _error_in(body: bytes) -> str:
    """Return the error code in a response; empty if there is none that the standard knows."""
    error = (_object_in(body) or {}).get("error")
    return error if isinstance(error, str) and error in _ERRORS else ""


def _object_in(body: bytes) -> dict[str, object] | None:
    try:
        found = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):  # no UTF-8, no JSON, NaN, numbers of thousands of digits, too deep
        return None
    return found if isinstance(found, dict) else None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
