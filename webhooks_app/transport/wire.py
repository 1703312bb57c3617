"""What both transports hold a request to before a byte of it goes out, and the limits they read an answer with."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

from webhooks_app.core.addresses import DEFAULT_PORTS, is_literal
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport.base import Request, Response

#: A header block beyond this many bytes is no answer but an attack; less than it, but over the limit, is cut.
HEADER_ABORT_BYTES = 128 * 1024

_URL = re.compile(r"https?://[!-\[\]-~]+")  # printable ASCII without backslash
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\t -~\x80-\xff]*")


class Place(NamedTuple):
    """Where a URL leads. `literal` is True where `host` is an address and nothing is to be resolved."""

    scheme: str
    host: str
    port: int
    literal: bool


@lru_cache(maxsize=8192)
def place_of(url: str) -> Place:
    """Where a URL leads. Raises ValueError for one that is not plain ASCII http or https."""
    parts = urlsplit(url)
    if not _URL.fullmatch(url) or not parts.hostname or "@" in parts.netloc:
        raise ValueError("the URL cannot be sent to")
    return Place(parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS[parts.scheme], is_literal(parts.hostname))


def check_headers(headers: tuple[tuple[str, str], ...]) -> None:
    """Raises ValueError where a name or value would break out of its line."""
    for name, value in headers:
        # Nearly every value is plain ASCII, which str tells much faster than a pattern.
        if not _is_name(name) or not ((value.isascii() and value.isprintable()) or _VALUE.fullmatch(value)):
            raise ValueError(f"header {name!r} cannot be sent")  # the value may be a secret: not named


@lru_cache(maxsize=1024)
def _is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def failed(request: Request, kind: OutcomeKind, detail: str, seconds: float = 0.0) -> Response:
    """The response to a request that got none."""
    return Response(request.token, None, b"", b"", seconds, failure=kind, detail=detail)
