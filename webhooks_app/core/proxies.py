"""The egress proxy's URL: parse and validate it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

_SCHEMES = ("http", "https", "socks5h")
_PRINTABLE = re.compile(r"[!-~]+")
#: The longest user name, password and host name that SOCKS5 can carry (bytes).
_LONGEST = 255
#: Completes "must be …".
WANTED = (
    "http://host:port, https://host:port or socks5h://host:port, with user:password@ before the host if the proxy wants it. "
    "Other schemes are not supported"
)


@dataclass(frozen=True, slots=True)
class Proxy:
    """An egress proxy. `host`: a name, or an address without brackets."""

    scheme: str
    host: str
    port: int
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def is_socks(self) -> bool:
        return self.scheme == "socks5h"

    @property
    def name(self) -> str:
        """Return host and port, for logs and errors."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_proxy(url: str) -> Proxy:
    """Return the proxy of a URL. Raises ValueError, whose text does not contain the URL: it may contain a password."""
    invalid = ValueError(f"the proxy must be {WANTED}")
    if not _PRINTABLE.fullmatch(url):
        raise invalid
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise invalid from None
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if (
        parts.scheme not in _SCHEMES
        or not host
        or not port
        or parts.path not in ("", "/")
        or parts.query
        or parts.fragment
    ):
        raise invalid
    if not all(_fits(text) for text in (user, password, host)) or (":" in user and parts.scheme != "socks5h"):
        raise invalid
    if bool(user) != bool(password):  # SOCKS5 has no empty password, and an empty user name is a mistake
        raise invalid
    return Proxy(parts.scheme, host, port, user, password)


def is_proxy(url: object) -> bool:
    """Return whether this is the URL of an egress proxy."""
    try:
        return isinstance(url, str) and parse_proxy(url) is not None
    except ValueError:
        return False


def _fits(text: str) -> bool:
    return len(text.encode()) <= _LONGEST and (not text or text.isprintable())
