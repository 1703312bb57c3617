"""The part of a response that a libcurl handle has received: status line, headers and body, each up to a limit.

libcurl calls `on_header` for every line and `on_body` for every piece.
"""

from __future__ import annotations

from collections.abc import Callable

from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport.base import TransportOptions
from webhooks_app.transport.curl_callbacks import guarded_reader
from webhooks_app.transport.curl_outcome import Failure
from webhooks_app.transport.curl_reuse import UNASKED
from webhooks_app.transport.response_head import InvalidResponse, check_fields, check_head, cut_headers, status_of
from webhooks_app.transport.validation import (
    HEADER_ABORT_BYTES,
    MAX_BODY_PIECES,
    MAX_HEADER_LINES,
    MAX_INTERIM_RESPONSES,
    TOO_MANY_HEADERS,
    TOO_MANY_INTERIM,
    TOO_MANY_PIECES,
    TOO_MANY_TRAILERS,
)

#: The values of `_state`: a status line comes next; inside a header block; the final header block is complete.
_BEFORE, _INSIDE, _COMPLETE = range(3)


class Received:
    """The response to a handle's current request. Call `reset` before the next request."""

    __slots__ = (
        "_body_limit",
        "_body_room",
        "_header_limit",
        "_header_lines",
        "_headers_complete",
        "_headers_seen",
        "_interim",
        "_lines",
        "_refuses",
        "_state",
        "body",
        "cut",
        "failure",
        "headers",
        "keep_error",
        "over_limit",
        "status",
        "stop",
        "version",
    )

    def __init__(
        self,
        options: TransportOptions,
        headers_complete: Callable[[], None],
        refuses: Callable[[str], bool],
        stop: Callable[[Exception], None],
        keep_error: Callable[[BaseException], None],
    ) -> None:
        """`headers_complete` is called once per response, and `refuses` with the HTTP version of its status line (see
        `Reuse.refuses`). `stop` and `keep_error`: see `guarded_reader`."""
        self._header_limit = options.header_limit
        self._body_limit = options.body_limit
        self._headers_complete = headers_complete
        self._refuses = refuses
        self.stop = stop
        self.keep_error = keep_error
        self.reset()

    def reset(self, least_body: int = 0) -> None:
        """Reset the state for the next response."""
        self._state = _BEFORE
        self.status = 0
        #: The HTTP version in the status line.
        self.version = ""
        #: The headers of the final response, once they are complete, up to the limit.
        self.headers = b""
        self._lines: list[bytes] = []
        #: The number of header bytes, header lines and interim responses so far.
        self._headers_seen = self._header_lines = self._interim = 0
        self.body: list[bytes] = []
        self._body_room = max(self._body_limit, least_body)
        #: True: the body was longer than the limit, so the request was ended.
        self.over_limit = False
        #: Why the body is not complete, if libcurl does not know.
        self.cut = ""
        #: Why we stopped the request; libcurl only knows that a callback failed.
        self.failure: Failure | None = None

    @property
    def complete(self) -> bool:
        """Return whether the headers of a final response are complete."""
        return self._state == _COMPLETE

    def refuse(self, failure: Failure) -> None:
        """Record that this is not a response, even if its headers are complete."""
        self._state = _BEFORE
        self.failure = failure

    @guarded_reader
    def on_header(self, line: bytes) -> int | None:
        size = len(line)
        self._headers_seen += size
        if self._state == _BEFORE:
            return self._begin_block(line)
        if size <= 2 and self._state == _INSIDE:
            return self._end_block()
        self._header_lines += 1
        if self._header_lines > MAX_HEADER_LINES or self._headers_seen > HEADER_ABORT_BYTES:
            self.cut = TOO_MANY_TRAILERS
            return self._refuse(TOO_MANY_HEADERS)
        if self._state != _COMPLETE:  # trailers are not kept
            self._lines.append(line)
        return None

    @guarded_reader
    def on_body(self, chunk: bytes) -> int | None:
        room = self._body_room
        if len(self.body) >= MAX_BODY_PIECES:
            self.cut = TOO_MANY_PIECES
            return 0
        if len(chunk) <= room:
            self.body.append(chunk)
            self._body_room = room - len(chunk)
            return None
        self.body.append(chunk[:room])
        self.over_limit = True
        return 0  # this ends the request; the received part is the response

    def _begin_block(self, line: bytes) -> int | None:
        """Read the status line of the final response, or of an interim (1xx) response before it."""
        parsed = status_of(line)
        if parsed is None:
            return self._refuse(f"no valid status line: {line[:60]!r}")
        self.version, self.status = parsed
        if self._refuses(self.version):
            return self._refuse(UNASKED)
        if self.status == 101:
            return self._refuse("switched protocols without being asked")
        if self.status < 200:
            self._interim += 1
            if self._interim > MAX_INTERIM_RESPONSES:
                return self._refuse(TOO_MANY_INTERIM)
        if self._headers_seen > HEADER_ABORT_BYTES:
            return self._refuse(TOO_MANY_HEADERS)
        self._lines.clear()
        self._state = _INSIDE
        return None

    def _end_block(self) -> int | None:
        headers = b"".join(self._lines)
        try:
            if self.status < 200:
                check_fields(headers)
                self._state = _BEFORE
                return None
            check_head(self.version, headers)
        except InvalidResponse as error:
            return self._refuse(str(error))
        self.headers = cut_headers(headers, self._header_limit)
        self._state = _COMPLETE
        self._headers_complete()
        return None

    def _refuse(self, detail: str) -> int:
        """Record the failure, and return the value that makes libcurl end the request."""
        self.failure = Failure(OutcomeKind.PROTOCOL_ERROR, detail)
        return 0
