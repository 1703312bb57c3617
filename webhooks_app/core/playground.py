"""The playground: a built-in receiver, for users who want to try webhooks without a server.

Its URLs are `playground:<response>`, a scheme that `check_url` always refuses: only the playground writes such a URL.
The response's body is the request itself, in the form that HTTP defines for that (`message/http`, as used by TRACE),
so that it is stored with the attempt like any response.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SCHEME = "playground"
#: The maximum size of an echoed request body: enough for any event within the standard limit, with envelope and signature.
ECHO_BYTES = 384 * 1024
CONTENT_TYPE = "message/http"
_PREFIX = f"{SCHEME}:"
_REQUEST_LINE = b"POST / HTTP/1.1"


@dataclass(frozen=True, slots=True)
class PlaygroundResponse:
    """A response of the playground. `status` None: no response until the request's deadline has passed."""

    name: str
    status: int | None
    #: Seconds, for a Retry-After header.
    retry_after: int | None = None


PLAYGROUND_RESPONSES = {
    response.name: response
    for response in (
        PlaygroundResponse("200", 200),
        PlaygroundResponse("204", 204),
        PlaygroundResponse("400", 400),
        PlaygroundResponse("410", 410),
        PlaygroundResponse("429", 429, retry_after=10),
        PlaygroundResponse("500", 500),
        PlaygroundResponse("timeout", None),
    )
}
DEFAULT_RESPONSE = "200"


@dataclass(frozen=True, slots=True)
class ArrivedRequest:
    """A request that the playground received: header names and values as sent, and at most ECHO_BYTES of the body."""

    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)


def url_of(response: str) -> str:
    """Return the URL of the playground with this response."""
    return _PREFIX + PLAYGROUND_RESPONSES[response].name


def is_playground_url(url: str) -> bool:
    """Return whether this URL leads to the playground, and never to the network."""
    return url.startswith(_PREFIX)


def response_of(url: str) -> PlaygroundResponse | None:
    """Return the response of the playground at this URL; None if it is unknown."""
    return PLAYGROUND_RESPONSES.get(url.removeprefix(_PREFIX)) if is_playground_url(url) else None


def echo(headers: tuple[tuple[str, str], ...], body: bytes) -> bytes:
    """Return the request as HTTP text. Header names and values must have been checked for line breaks."""
    lines = [_REQUEST_LINE, *(f"{name}: {value}".encode("latin-1") for name, value in headers)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body[:ECHO_BYTES]


def without_body(echoed: bytes) -> bytes:
    """Return the result of `echo` without the request's body."""
    head, separator, _ = echoed.partition(b"\r\n\r\n")
    return head + separator


def arrived(echoed: bytes) -> ArrivedRequest | None:
    """Parse the result of `echo`; return None for other bytes."""
    head, separator, body = echoed.partition(b"\r\n\r\n")
    line, *lines = head.split(b"\r\n")
    if line != _REQUEST_LINE or not separator:
        return None
    pairs = (text.decode("latin-1").partition(": ") for text in lines)
    return ArrivedRequest(tuple((name, value) for name, _, value in pairs), body)
