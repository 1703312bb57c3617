"""Checks of requests before they are sent, and limits for reading responses, shared by both transports."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

from webhooks_app.core.addresses import DEFAULT_PORTS, is_literal
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport.base import OurFault, Request, Response

# Each limit applies to a whole response. Python code runs for each line or piece, in time that all requests share, so a
# response beyond a limit fails.
#: Bytes of status lines, headers and trailers. Fewer, but more than `TransportOptions.header_limit`, are truncated.
HEADER_ABORT_BYTES = 32 * 1024
#: Lines of headers and trailers, including those of interim responses.
MAX_HEADER_LINES = 200
#: Responses with a status from 100 to 199 before the final one.
MAX_INTERIM_RESPONSES = 10
#: Chunks or packets of a body; a body in more pieces is truncated.
MAX_BODY_PIECES = 256
#: Bytes that may be read for one response besides its body: handshake messages, frames, extensions and so on.
MAX_BYTES_BESIDE_BODY = 128 * 1024
#: The maximum lengths of `Response.detail` and `Response.address`.
DETAIL_CHARACTERS = 500
ADDRESS_CHARACTERS = 64
#: Texts of `Response.detail`: for a body that ended before it was complete, and the reasons.
CUT_SHORT = "the body was cut short"
TOO_MANY_HEADERS = "too many headers"
TOO_MANY_INTERIM = "too many interim responses"
TOO_MANY_TRAILERS = "too many trailers"
TOO_MANY_PIECES = "too many small pieces"
#: For a connection that never stops sending TLS or HTTP data, whatever the response.
FLOODED = "more data than a response may have"
#: For a connection whose handshake takes too much processor time: crafted certificates can cause this.
#: The second text is for other requests of the same owner.
KEPT_BUSY = "reading the receiver's certificates kept this process busy"
NEIGHBOUR_KEPT_BUSY = "another receiver of this tenant kept this process busy"

_URL = re.compile(r"https?://[!-\[\]-~]+")  # printable ASCII without backslash
_TARGET = re.compile(r"[/?].*")
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\t -~\x80-\xff]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_LONGEST = 86_400.0


class Place(NamedTuple):
    """The target of a URL. `literal` is True if `host` is an address, so that no name must be resolved."""

    scheme: str
    host: str
    port: int
    literal: bool


@lru_cache(maxsize=8192)
def place_of(url: str) -> Place:
    """Return the target of a URL. Raises ValueError unless it is a plain ASCII http or https URL."""
    parts = urlsplit(url)
    if not _URL.fullmatch(url) or not parts.hostname or "@" in parts.netloc:
        raise ValueError("the URL cannot be sent to")
    return Place(parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS[parts.scheme], is_literal(parts.hostname))


@lru_cache(maxsize=8192)
def target_of(url: str) -> str:
    """Return the request target of a URL: path and query, byte for byte. Libraries would normalise them, and some receivers
    compare or sign the path."""
    place = _TARGET.search(url.partition("#")[0], url.index("://") + 3)
    target = place[0] if place is not None else "/"
    return target if target.startswith("/") else f"/{target}"


def check_request(request: Request) -> Place:
    """Return the target of a request. Raises ValueError if it cannot be sent; the text says what is wrong."""
    place = place_of(request.url)
    check_timeouts(request)
    check_headers(request.headers)
    return place


def check_timeouts(request: Request) -> None:
    """Raise ValueError for a timeout that is not a number of seconds."""
    try:
        sound = 0 <= request.connect_timeout <= _LONGEST and 0 <= request.total_timeout <= _LONGEST  # false for NaN
    except TypeError:
        sound = False
    if not sound:
        raise ValueError(f"timeouts are numbers of seconds up to {_LONGEST}: check the wire format's timeouts")


def check_headers(headers: tuple[tuple[str, str], ...]) -> None:
    """Raise ValueError if a name or value is not text, or is not valid in a header line."""
    name: object = ""
    try:
        for name, value in headers:
            # Nearly every value is plain ASCII, which `str` checks much faster than a pattern.
            if not _is_name(name) or not ((value.isascii() and value.isprintable()) or _VALUE.fullmatch(value)):
                raise ValueError(f"header {name!r} cannot be sent")  # do not include the value: it may be a secret
    except (AttributeError, TypeError):
        raise ValueError(f"header {name!r} cannot be sent: its name and value must be text") from None


@lru_cache(maxsize=1024)
def _is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def cut_text(text: str, most: int = DETAIL_CHARACTERS) -> str:
    """Return a text that can be stored and logged: without control characters and lone surrogates, with at most `most`
    characters."""
    return _CONTROL.sub(" ", text[:most]).encode("utf-8", "replace").decode()


def failed(
    request: Request, kind: OutcomeKind, detail: str, seconds: float = 0.0, our_fault: OurFault | str = ""
) -> Response:
    """Return the response of a request that failed. NOT_SENT without `our_fault` means that the request is at fault."""
    if kind is OutcomeKind.NOT_SENT and not our_fault:
        our_fault = OurFault.REQUEST
    return Response(
        request.token, None, b"", b"", seconds, failure=kind, detail=cut_text(detail), our_fault=str(our_fault)
    )
