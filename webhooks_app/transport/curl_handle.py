"""One reusable libcurl handle: a request's options in, the bounded answer out, and the check of addresses dialled."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

import pycurl

from webhooks_app.core.addresses import address_allowed
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport.base import OurFault, Request, Response, TransportOptions
from webhooks_app.transport.curl_callbacks import Dialled, guarded
from webhooks_app.transport.curl_options import BASE_HEADERS, configure, header_line, milliseconds
from webhooks_app.transport.curl_outcome import Failure, Sockets, failure_of, our_failure
from webhooks_app.transport.faults import not_sent, proxy_name, proxy_refusal
from webhooks_app.transport.wire import (
    ADDRESS_CHARACTERS,
    CUT_SHORT,
    HEADER_ABORT_BYTES,
    MAX_BODY_PIECES,
    MAX_HEADER_LINES,
    MAX_INTERIM_RESPONSES,
    TOO_MANY_HEADERS,
    TOO_MANY_INTERIM,
    TOO_MANY_PIECES,
    TOO_MANY_TRAILERS,
    cut_text,
    status_of,
)

#: What `_state` says: a status line comes next; inside a block of headers; the final block is complete.
_BEFORE, _INSIDE, _COMPLETE = range(3)
#: A code for `finish`, beside libcurl's: we stopped the request because its body took too long.
BODY_LATE = -1
#: How libcurl's message begins where every kept connection that it tried was closed (`Curl_retry_request`).
_DIED = "Connection died"


class Handle:
    """A pycurl easy handle with what belongs to the request it carries now."""

    __slots__ = (
        "_addresses",
        "_body",
        "_body_limit",
        "_body_room",
        "_connect_timeout",
        "_cut",
        "_failure",
        "_fresh",
        "_header_limit",
        "_header_lines",
        "_header_room",
        "_headers",
        "_headers_complete",
        "_headers_seen",
        "_interim",
        "_over_limit",
        "_proxy",
        "_resolve",
        "_sockets",
        "_state",
        "_status",
        "_total_timeout",
        "_url",
        "_version",
        "curl",
        "fd",
        "keep_error",
        "request",
        "serial",
        "waited",
    )

    def __init__(
        self,
        options: TransportOptions,
        ca_bundle: str,
        keep_error: Callable[[BaseException], None],
        headers_complete: Callable[[Handle], None],
    ) -> None:
        self.keep_error = keep_error
        self._headers_complete = headers_complete
        self._addresses = options.addresses
        self._body_limit = options.body_limit
        self._header_limit = options.header_limit
        self._proxy = proxy_name(options.proxy)
        self._url = self._resolve = ""
        self._connect_timeout = self._total_timeout = -1.0
        self.request: Request | None = None
        #: Counts the requests that this handle carried.
        self.serial = 0
        #: The request gets a connection of its own.
        self._fresh = False
        #: Seconds that the request had waited before it came here; part of its duration.
        self.waited = 0.0
        self._reset()
        self.curl: Any = pycurl.Curl()
        configure(self.curl, options, ca_bundle)
        self._set_callbacks()

    def _reset(self) -> None:
        self._state = _BEFORE
        self._status = 0
        self._version = ""
        self._headers: list[bytes] = []
        self._header_room = self._header_limit
        #: Bytes of headers, lines of them, and interim responses until now.
        self._headers_seen = self._header_lines = self._interim = 0
        self._body: list[bytes] = []
        self._body_room = self._body_limit
        self._over_limit = False
        #: Why the body is not complete, where libcurl does not know.
        self._cut = ""
        #: Why we stopped this request ourselves; libcurl then only knows that a callback failed.
        self._failure: Failure | None = None
        self._sockets = Sockets()
        #: The descriptor of the connection that was opened last for this request.
        self.fd = -1

    def _set_callbacks(self) -> None:
        setopt = self.curl.setopt
        setopt(pycurl.WRITEFUNCTION, self._on_body)
        setopt(pycurl.HEADERFUNCTION, self._on_header)
        setopt(pycurl.OPENSOCKETFUNCTION, self._on_open_socket)
        setopt(pycurl.SOCKOPTFUNCTION, self._on_socket)

    def prepare(self, request: Request, seconds: float, resolve: str) -> None:
        """Load a request, which was checked, and which may take `seconds` from now. `resolve` is
        `+host:port:address,…`, empty for a literal."""
        self._reset()
        setopt = self.curl.setopt
        if request.url != self._url:
            setopt(pycurl.URL, request.url)
            self._url = request.url
        if resolve or self._resolve:
            # Every time: libcurl takes it in once, forgets it after DNS_CACHE_TIMEOUT, and would then ask a resolver itself.
            setopt(pycurl.RESOLVE, [resolve] if resolve else [])
            self._resolve = resolve
        if request.connect_timeout != self._connect_timeout:
            setopt(pycurl.CONNECTTIMEOUT_MS, milliseconds(request.connect_timeout))
            self._connect_timeout = request.connect_timeout
        if seconds != self._total_timeout:
            setopt(pycurl.TIMEOUT_MS, milliseconds(seconds))
            self._total_timeout = seconds
        setopt(pycurl.HTTPHEADER, BASE_HEADERS + [header_line(name, value) for name, value in request.headers])
        setopt(pycurl.POSTFIELDS, request.body)
        self.waited = request.total_timeout - seconds
        self.serial += 1
        self.request = request

    def prepare_again(self, code: int, message: str) -> bool:
        """Load the same request once more, for a new connection, where libcurl found nothing but dead ones; return whether.

        A receiver, or a firewall before it, may close all kept connections at once. libcurl tries five of them and gives
        up, for the whole request; none of them has carried a byte of a response.
        """
        request = self.request
        if request is None or self._fresh or code != pycurl.E_SEND_ERROR or not message.startswith(_DIED):
            return False
        left = request.total_timeout - self.waited - self.curl.getinfo(pycurl.TOTAL_TIME)
        if left <= 0:
            return False
        self.prepare(request, left, self._resolve)
        self.curl.setopt(pycurl.FRESH_CONNECT, 1)
        self._fresh = True
        return True

    def finish(self, code: int, message: str) -> Response:
        """Return the response, after the request has ended with `code`; the handle is free again."""
        request, self.request = self.request, None
        assert request is not None
        if self._fresh:
            self.curl.setopt(pycurl.FRESH_CONNECT, 0)
            self._fresh = False
        seconds = self.waited + self.curl.getinfo(pycurl.TOTAL_TIME)
        address = self.curl.getinfo(pycurl.PRIMARY_IP)[:ADDRESS_CHARACTERS]
        headers = b"".join(self._headers)
        failure = self._why_none(code, message)
        if failure is not None:
            kind, detail, fault = failure
            return Response(
                request.token, None, headers, b"", seconds, kind, cut_text(detail), address, our_fault=str(fault)
            )
        complete = code == pycurl.E_OK or self._over_limit
        return Response(
            request.token,
            self._status,
            headers,
            b"".join(self._body),
            seconds,
            detail="" if complete else self._why_cut(code, message),
            address=address,
            truncated=self._over_limit or not complete,
            http_version=self._version,
        )

    def stop(self, error: Exception) -> None:
        """Note that one of our callbacks failed. A response whose headers are complete stays one."""
        if self.request is None:
            return
        response = not_sent(self.request, error)
        if self._state == _COMPLETE:
            self._cut = response.detail
        else:
            self._failure = our_failure(response.detail, OurFault(response.our_fault))

    def _why_none(self, code: int, message: str) -> Failure | None:
        """Return the failure; None where the headers of a final response are complete."""
        if self._state == _COMPLETE:
            if self._proxy and self._status == 407 and self._url.startswith("http:"):
                return Failure(*proxy_refusal(self._proxy, self._status))
            return None
        # A socket could not be opened, but another address of the same name answered, or took too long to.
        if self._failure is not None and code not in (pycurl.E_OK, pycurl.E_OPERATION_TIMEDOUT):
            return self._failure
        return failure_of(self.curl, code, message, self._sockets, self._proxy, self._url)

    def _why_cut(self, code: int, message: str) -> str:
        if code == BODY_LATE:
            return message
        if code == pycurl.E_OPERATION_TIMEDOUT:
            return "the body was not complete at the deadline"
        return cut_text(f"{CUT_SHORT}: {self._cut or message}")

    def close(self) -> None:
        self.curl.close()

    @guarded(0)
    def _on_header(self, line: bytes) -> int | None:
        size = len(line)
        self._headers_seen += size
        if self._state == _BEFORE:
            return self._begin_block(line)
        if size <= 2 and self._state == _INSIDE:
            self._end_block()
            return None
        self._header_lines += 1
        if self._header_lines > MAX_HEADER_LINES or self._headers_seen > HEADER_ABORT_BYTES:
            self._cut = TOO_MANY_TRAILERS
            return self._refuse(TOO_MANY_HEADERS)
        if size > self._header_room or self._state == _COMPLETE:  # trailers are not kept
            self._header_room = 0
        else:
            self._headers.append(line)
            self._header_room -= size
        return None

    def _begin_block(self, line: bytes) -> int | None:
        """Read a status line: of the final response, or of an interim (1xx) one before it."""
        parsed = status_of(line)
        if parsed is None:
            return self._refuse(f"no valid status line: {line[:60]!r}")
        self._version, self._status = parsed
        if self._status == 101:
            return self._refuse("switched protocols without being asked")
        if self._status < 200:
            self._interim += 1
            if self._interim > MAX_INTERIM_RESPONSES:
                return self._refuse(TOO_MANY_INTERIM)
        if self._headers_seen > HEADER_ABORT_BYTES:
            return self._refuse(TOO_MANY_HEADERS)
        self._headers.clear()
        self._header_room = self._header_limit
        self._state = _INSIDE
        return None

    def _refuse(self, detail: str) -> int:
        """Return what makes libcurl end the request."""
        self._failure = Failure(OutcomeKind.PROTOCOL_ERROR, detail)
        return 0

    def _end_block(self) -> None:
        if self._status < 200:
            self._state = _BEFORE
        else:
            self._state = _COMPLETE
            self._headers_complete(self)

    @guarded(0)
    def _on_body(self, chunk: bytes) -> int | None:
        room = self._body_room
        if len(self._body) >= MAX_BODY_PIECES:
            self._cut = TOO_MANY_PIECES
            return 0
        if len(chunk) <= room:
            self._body.append(chunk)
            self._body_room = room - len(chunk)
            return None
        self._body.append(chunk[:room])
        self._over_limit = True
        return 0  # ends the request; what is here is the response

    @guarded(pycurl.SOCKET_BAD)
    def _on_open_socket(self, _purpose: int, address: Any) -> Any:
        """Check an address that libcurl is about to dial, and open the socket for it."""
        if not self._proxy and not address_allowed(address.addr[0], self._addresses):
            self._failure = Failure(OutcomeKind.ADDRESS_NOT_ALLOWED, f"{address.addr[0]} is not sent to")
            return pycurl.SOCKET_BAD
        opened = Dialled(address.family, address.socktype, address.protocol)
        self._sockets.opened += 1
        self._sockets.lost += 1
        self._sockets.ipv6 = self._sockets.ipv6 or address.family == socket.AF_INET6
        return opened

    @guarded(pycurl.SOCKOPT_ERROR)
    def _on_socket(self, fd: int, _purpose: int) -> int:
        self._sockets.lost -= 1
        self.fd = fd
        os.set_inheritable(fd, False)  # pycurl's duplicate would otherwise live on in child processes
        return int(pycurl.SOCKOPT_OK)
