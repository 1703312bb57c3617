"""What a valid response is, by RFC 9110 and RFC 9112: its status line, its headers, and what they say about the body.

Libraries disagree about this: some end a body where others do not, or read past an invalid line. Both transports ask here.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

HTTP_VERSIONS = frozenset({"1.0", "1.1", "2", "3"})

_STATUS_LINE = re.compile(rb"HTTP/(\d(?:\.\d)?)[ \t]+(\d{3})(?![^ \t\r\n])")
_STATUS_LINE_BYTES = 64  # only the start of the line is used, and lines are cached
_LINE_END = rb"[^\0\r\n]*\r?\n"
#: Name, colon, value, and further lines of the value, which begin with a space.
_FIELDS = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:" + _LINE_END + rb"(?:[ \t]" + _LINE_END + rb")*)*")
#: It begins with a line's end, which is found much faster than the name in any case.
_FRAMING = re.compile(rb"\n(?i:(content-length|transfer-encoding)):((?:[^\r\n]|\r?\n[ \t])*)")
_LENGTH = re.compile(rb"\d{1,18}")
_SHOWN_BYTES = 60
_CACHED_BYTES = 512


class Framing(NamedTuple):
    """Where the body of a response ends: after `length` bytes, after the last chunk, or else with the connection."""

    length: int | None = None
    chunked: bool = False


class InvalidResponse(Exception):
    """The headers of a response are not valid. The text says why."""


def status_of(line: bytes) -> tuple[str, int] | None:
    """Return the HTTP version and the status of a response's first line; None if it is not a status line."""
    return _status_of(line[:_STATUS_LINE_BYTES])


@lru_cache(maxsize=1024)
def _status_of(line: bytes) -> tuple[str, int] | None:
    match = _STATUS_LINE.match(line)
    if match is None:
        return None
    version, status = match[1].decode(), int(match[2])
    return (version, status) if version in HTTP_VERSIONS and status >= 100 else None


def check_fields(headers: bytes) -> None:
    """Raise InvalidResponse unless these bytes are header lines. The status line and the empty line are not part of them."""
    valid = _FIELDS.match(headers)
    assert valid is not None  # it matches the empty string
    if valid.end() < len(headers):
        line = headers[valid.end() :].split(b"\n", 1)[0]
        raise InvalidResponse(f"no valid header line: {line[:_SHOWN_BYTES]!r}")


def framing_of(version: str, headers: bytes) -> Framing:
    """Return where the body of a response with these checked headers ends. Raises InvalidResponse if they contradict each other:
    then the next response on the connection might be read from a body."""
    fields = _FRAMING.findall(b"\n" + headers)
    lengths = {value.strip(b" \t\r\n") for name, text in fields if name[:1] in b"cC" for value in text.split(b",")}
    encodings = [text.strip(b" \t\r\n").lower() for name, text in fields if name[:1] in b"tT"]
    if encodings:
        if lengths or version == "1.0":
            raise InvalidResponse("a response with Transfer-Encoding has no Content-Length, and is not HTTP/1.0")
        if encodings != [b"chunked"]:
            raise InvalidResponse(f"no valid Transfer-Encoding: {b', '.join(encodings)[:_SHOWN_BYTES]!r}")
        return Framing(chunked=True)
    if not lengths:
        return Framing()
    length = lengths.pop()
    if lengths or not _LENGTH.fullmatch(length):
        raise InvalidResponse("no valid Content-Length")
    return Framing(int(length))


def check_head(version: str, headers: bytes) -> Framing:
    """Do both: check the header lines, and return where the body ends. Busy receivers often send the same headers many times."""
    return (_check_short if len(headers) <= _CACHED_BYTES else _check)(version, headers)


def _check(version: str, headers: bytes) -> Framing:
    check_fields(headers)
    return framing_of(version, headers)


_check_short = lru_cache(maxsize=1024)(_check)


def cut_headers(headers: bytes, limit: int) -> bytes:
    """Return the first whole lines of the headers, at most `limit` bytes."""
    return headers if len(headers) <= limit else headers[: headers.rfind(b"\n", 0, limit) + 1]
