"""Read the headers of a response for the `requests` transport: strictly, and up to a limit.

`http.client` treats a connection that ends inside the headers as the end of the headers, fails at the 101st header, and
returns interim responses such as 103 Early Hints as if they were final. So it gets only the headers that determine where
the body ends. All others are stored unchanged in `Head.headers`. A header block is handled as a whole and not line by line:
all threads share one interpreter, so Python code for each line would slow all of them down.
"""

from __future__ import annotations

import http.client
import io
import re
import time
from typing import Any

from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport.requests_job import Head, Stopped, current
from webhooks_app.transport.response_head import InvalidResponse, check_fields, cut_headers, framing_of, status_of
from webhooks_app.transport.validation import (
    HEADER_ABORT_BYTES,
    MAX_HEADER_LINES,
    MAX_INTERIM_RESPONSES,
    TOO_MANY_HEADERS,
    TOO_MANY_INTERIM,
    TOO_MANY_TRAILERS,
)

_KEEPING = re.compile(rb"^(?:connection|keep-alive|proxy-connection):.*\n", re.IGNORECASE | re.MULTILINE)
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?\r?\n")
_END = re.compile(rb"\n\r?\n")
_END_BYTES = 3
#: After this many reads, wait before each read, so that the kernel collects the bytes of a receiver that sends slowly.
_QUICK_READS = 32
_PAUSE = 0.02


class _HeadReader:
    """Reads and counts the headers of one response."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._reads = 0
        self._interim = 0
        self._seen = 0
        self._lines = 0
        self.version = ""
        self.status = 0

    def read(self) -> tuple[bytes, bytes]:
        """Return the status line and the headers of the final response.

        Both are empty if the connection was closed before the first byte. Raises Stopped or InvalidResponse.
        """
        while True:
            status_line, headers = self._read_block()
            if not status_line or self.status >= 200 or self.status == 101:
                return status_line, headers
            self._interim += 1
            if self._interim > MAX_INTERIM_RESPONSES:
                raise Stopped(OutcomeKind.PROTOCOL_ERROR, TOO_MANY_INTERIM)

    def _read_block(self) -> tuple[bytes, bytes]:
        block = bytearray()
        self.status = 0
        while True:
            piece = self._peek()
            if not piece and not self._seen:
                return b"", b""
            known = len(block)
            block += piece
            if not self.status:
                self._read_status(block)
            end = _END.search(block, max(known - _END_BYTES, 0))
            if end is not None:
                del block[end.end() :]
            self._count(self._file.read(len(block) - known))
            if end is not None:
                self._lines -= 2  # the status line and the empty line
            if self._lines > MAX_HEADER_LINES + (end is None) or self._seen > HEADER_ABORT_BYTES:
                raise Stopped(OutcomeKind.PROTOCOL_ERROR, TOO_MANY_HEADERS)
            if end is not None:
                first = block.find(b"\n") + 1
                headers = bytes(block[first : block.rfind(b"\n", 0, -1) + 1])
                check_fields(headers)
                return bytes(block[:first]), headers
            if not piece:
                raise Stopped(OutcomeKind.PROTOCOL_ERROR, "the response ended inside its headers")

    def _peek(self) -> bytes:
        """Return the received bytes without consuming them: at least one, unless the connection has ended."""
        self._reads += 1
        if self._reads > _QUICK_READS:
            time.sleep(_PAUSE)
        try:
            return bytes(self._file.peek())
        except ConnectionError:
            if not self._seen:
                raise  # a kept connection that was closed meanwhile: the request may be retried
            raise Stopped(OutcomeKind.PROTOCOL_ERROR, "the connection was reset inside the headers") from None

    def _read_status(self, block: bytearray) -> None:
        """Parse the status line if it is complete."""
        end = block.find(b"\n") + 1
        if end:
            parsed = status_of(bytes(block[:end]))
            if parsed is None:
                raise Stopped(OutcomeKind.PROTOCOL_ERROR, f"no valid status line: {bytes(block[: min(end, 60)])!r}")
            self.version, self.status = parsed

    def _count(self, piece: bytes) -> None:
        self._seen += len(piece)
        self._lines += piece.count(b"\n")

    def skip_trailers(self) -> None:
        """Read up to the empty line after the last chunk. Raises Stopped if there are too many trailers."""
        while (line := self._file.readline(HEADER_ABORT_BYTES)) not in (b"\r\n", b"\n", b""):
            self._count(line)
            if self._lines > MAX_HEADER_LINES or self._seen > HEADER_ABORT_BYTES:
                raise Stopped(OutcomeKind.PROTOCOL_ERROR, TOO_MANY_TRAILERS)


class CheckedResponse(http.client.HTTPResponse):
    """A response with checked headers; it stores them in the current job."""

    header_limit = 8 * 1024
    _reader: _HeadReader

    def begin(self) -> None:
        if self.headers is not None:  # http.client calls this more than once
            return
        file: Any = self.fp
        self._reader = _HeadReader(file)
        try:
            status_line, headers = self._reader.read()
            framing = framing_of(self._reader.version, headers)
        except InvalidResponse as error:
            raise Stopped(OutcomeKind.PROTOCOL_ERROR, str(error)) from None
        lines = [status_line, *_KEEPING.findall(headers)]
        if framing.chunked:
            lines.append(b"Transfer-Encoding: chunked\r\n")
        if framing.length is not None:
            lines.append(b"Content-Length: %d\r\n" % framing.length)
        self.fp = io.BytesIO(b"".join(lines) + b"\r\n" * bool(status_line))
        try:
            super().begin()
        finally:
            self.fp = file
        job = current.job
        if job is not None and self.status >= 200:
            job.head = Head(self.status, self._reader.version, cut_headers(headers, self.header_limit))

    def _read_next_chunk_size(self) -> int:
        size = _CHUNK_SIZE.fullmatch(self.fp.readline(HEADER_ABORT_BYTES))
        if size is None:
            raise Stopped(OutcomeKind.PROTOCOL_ERROR, "no valid chunk size")  # http.client would accept -1 and 1_0
        return int(size[1], 16)

    def _read_and_discard_trailer(self) -> None:
        self._reader.skip_trailers()  # http.client would read any number of them
