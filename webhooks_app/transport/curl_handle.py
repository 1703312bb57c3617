"""One reusable libcurl handle: a request's options in, the bounded answer out, and the check of addresses dialled."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from functools import wraps
from typing import Any

import pycurl

from webhooks_app.core.addresses import address_allowed
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport.base import Request, Response, TransportOptions
from webhooks_app.transport.wire import HEADER_ABORT_BYTES, check_headers

#: How long libcurl may use an address that we resolved: a request begins within it, always.
_DNS_CACHE_SECONDS = 60
# Removing libcurl's defaults: no wait for "100 Continue", no form content type, nothing compressed.
_BASE_HEADERS = [b"Expect:", b"Content-Type:", b"Accept-Encoding: identity"]
_KINDS = {
    pycurl.E_OPERATION_TIMEDOUT: OutcomeKind.TIMEOUT,
    pycurl.E_COULDNT_CONNECT: OutcomeKind.REFUSED,
    pycurl.E_COULDNT_RESOLVE_HOST: OutcomeKind.NAME_ERROR,
    pycurl.E_COULDNT_RESOLVE_PROXY: OutcomeKind.NAME_ERROR,
    pycurl.E_URL_MALFORMAT: OutcomeKind.NOT_SENT,
    pycurl.E_FAILED_INIT: OutcomeKind.NOT_SENT,
    pycurl.E_OUT_OF_MEMORY: OutcomeKind.NOT_SENT,
    pycurl.E_SSL_CACERT_BADFILE: OutcomeKind.NOT_SENT,
    pycurl.E_SSL_CONNECT_ERROR: OutcomeKind.TLS_ERROR,
    pycurl.E_PEER_FAILED_VERIFICATION: OutcomeKind.TLS_ERROR,
    pycurl.E_SSL_CERTPROBLEM: OutcomeKind.TLS_ERROR,
    pycurl.E_SSL_CIPHER: OutcomeKind.TLS_ERROR,
    pycurl.E_SSL_ISSUER_ERROR: OutcomeKind.TLS_ERROR,
    pycurl.E_SSL_INVALIDCERTSTATUS: OutcomeKind.TLS_ERROR,
}


def _keeping_errors(failure: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """For libcurl's callbacks. pycurl would print an exception, a signal handler's too, and forget it."""

    def decorate(callback: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(callback)
        def guarded(handle: Handle, *arguments: Any) -> Any:
            try:
                return callback(handle, *arguments)
            except BaseException as error:  # noqa: BLE001 - raised again by the transport's `wait`
                handle.keep_error(error)
                return failure

        return guarded

    return decorate


class _Dialled(socket.socket):
    """libcurl works on a duplicate of this socket; the original goes as soon as nobody holds it, without a warning."""

    def __del__(self) -> None:
        self.close()


class Handle:
    """A pycurl easy handle with what belongs to the request it carries now."""

    __slots__ = (
        "_addresses",
        "_body",
        "_body_limit",
        "_body_size",
        "_connect_timeout",
        "_fault",
        "_header_limit",
        "_header_room",
        "_headers",
        "_headers_seen",
        "_proxied",
        "_resolve",
        "_status_line",
        "_total_timeout",
        "_truncated",
        "_url",
        "curl",
        "keep_error",
        "request",
        "waited",
    )

    def __init__(self, options: TransportOptions, ca_bundle: str, keep_error: Callable[[BaseException], None]) -> None:
        self.keep_error = keep_error
        self._addresses = options.addresses
        self._body_limit = options.body_limit
        self._header_limit = options.header_limit
        self._proxied = bool(options.proxy)
        self._url = self._resolve = ""
        self._connect_timeout = self._total_timeout = -1.0
        self.request: Request | None = None
        #: Seconds that the request had waited before it came here; part of its duration.
        self.waited = 0.0
        self._reset()
        self.curl: Any = pycurl.Curl()
        self._configure(options, ca_bundle)

    def _reset(self) -> None:
        self._headers: list[bytes] = []
        self._header_room = self._header_limit
        self._headers_seen = 0
        self._status_line = b""
        self._body: list[bytes] = []
        self._body_size = 0
        self._truncated = False
        #: Why we stopped this request ourselves; libcurl then only knows that a callback failed.
        self._fault: tuple[OutcomeKind, str] | None = None

    def _configure(self, options: TransportOptions, ca_bundle: str) -> None:
        """What is the same for every request. Also what is libcurl's default, where safety hangs on it."""
        setopt = self.curl.setopt
        setopt(pycurl.NOSIGNAL, 1)
        setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        setopt(pycurl.FOLLOWLOCATION, 0)
        setopt(pycurl.PROXY, options.proxy)  # empty: none, and none from the environment either
        setopt(pycurl.NOPROXY, "" if options.proxy else "*")
        setopt(pycurl.NETRC, pycurl.NETRC_IGNORED)
        setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS)
        setopt(pycurl.HTTP09_ALLOWED, 0)
        setopt(pycurl.HTTP_CONTENT_DECODING, 0)
        setopt(pycurl.USERAGENT, "webhooks-app")  # unless the request brings its own
        setopt(pycurl.SSL_VERIFYPEER, 1)
        setopt(pycurl.SSL_VERIFYHOST, 2)
        setopt(pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2)
        setopt(pycurl.CAINFO, ca_bundle)
        setopt(pycurl.DNS_CACHE_TIMEOUT, _DNS_CACHE_SECONDS)  # of what we resolved and hand in with each request
        setopt(pycurl.MAXAGE_CONN, 60)  # an idle connection older than this is not tried again
        setopt(pycurl.MAXLIFETIME_CONN, 300)  # so that a receiver which moves is followed
        setopt(pycurl.POST, 1)
        setopt(pycurl.WRITEFUNCTION, self._on_body)
        setopt(pycurl.HEADERFUNCTION, self._on_header)
        setopt(pycurl.OPENSOCKETFUNCTION, self._on_open_socket)
        setopt(pycurl.SOCKOPTFUNCTION, self._on_socket)

    def prepare(self, request: Request, seconds: float, resolve: str) -> None:
        """Load a request that may take `seconds` from now. `resolve` is `+host:port:address,…`, empty for a literal.

        Raises ValueError where the request cannot be sent as it is.
        """
        check_headers(request.headers)
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
            setopt(pycurl.CONNECTTIMEOUT_MS, _milliseconds(request.connect_timeout))
            self._connect_timeout = request.connect_timeout
        if seconds != self._total_timeout:
            setopt(pycurl.TIMEOUT_MS, _milliseconds(seconds))
            self._total_timeout = seconds
        setopt(pycurl.HTTPHEADER, _BASE_HEADERS + [_line(name, value) for name, value in request.headers])
        setopt(pycurl.POSTFIELDS, request.body)
        self.waited = request.total_timeout - seconds
        self.request = request

    def finish(self, code: int, message: str) -> Response:
        """The answer, after libcurl has finished with `code`; the handle is free again."""
        request, self.request = self.request, None
        assert request is not None
        getinfo = self.curl.getinfo
        seconds, address = self.waited + getinfo(pycurl.TOTAL_TIME), getinfo(pycurl.PRIMARY_IP)
        fault = self._fault
        if fault is not None and (code == pycurl.E_OK or code == pycurl.E_OPERATION_TIMEDOUT):
            fault = None  # another address of the same name answered, or took too long to
        if fault is None and code != pycurl.E_OK and not self._truncated:
            fault = _KINDS.get(code, OutcomeKind.PROTOCOL_ERROR), message
        headers = b"".join(self._headers)
        if fault is not None:
            kind, detail = fault
            return Response(request.token, None, headers, b"", seconds, kind, detail, address)
        version = self._status_line[5:].split(b" ", 1)[0].decode("ascii", "replace")
        return Response(
            request.token,
            getinfo(pycurl.RESPONSE_CODE),
            headers,
            b"".join(self._body),
            seconds,
            address=address,
            truncated=self._truncated,
            http_version=version,
        )

    def close(self) -> None:
        self.curl.close()

    @_keeping_errors(0)
    def _on_header(self, line: bytes) -> int | None:
        size = len(line)
        self._headers_seen += size
        if self._headers_seen > HEADER_ABORT_BYTES:
            self._fault = OutcomeKind.PROTOCOL_ERROR, "too many headers"
            return 0
        if line.startswith(b"HTTP/"):  # the answer's first line, after any number of 1xx blocks
            self._status_line = line
            self._headers.clear()
            self._header_room = self._header_limit
            if line[9:12] == b"101":
                self._fault = OutcomeKind.PROTOCOL_ERROR, "switched protocols without being asked"
                return 0
        elif size <= self._header_room and size > 2:
            self._headers.append(line)
            self._header_room -= size
        else:
            self._header_room = 0 if size > 2 else self._header_room
        return None

    @_keeping_errors(0)
    def _on_body(self, chunk: bytes) -> int | None:
        room = self._body_limit - self._body_size
        self._body_size += len(chunk)
        if len(chunk) <= room:
            self._body.append(chunk)
            return None
        self._body.append(chunk[:room])
        self._truncated = True
        return 0  # ends the request; what is here is the answer

    @_keeping_errors(pycurl.SOCKET_BAD)
    def _on_open_socket(self, _purpose: int, address: Any) -> Any:
        """Check an address that libcurl is about to dial, and open the socket for it."""
        try:
            if not self._proxied and not address_allowed(address.addr[0], self._addresses):
                self._fault = OutcomeKind.ADDRESS_NOT_ALLOWED, f"{address.addr[0]} is not sent to"
                return pycurl.SOCKET_BAD
            return _Dialled(address.family, address.socktype, address.protocol)
        except OSError as error:  # out of descriptors, say: the request fails and says why
            self._fault = OutcomeKind.NOT_SENT, f"no socket: {error}"
            return pycurl.SOCKET_BAD

    @_keeping_errors(pycurl.SOCKOPT_ERROR)
    def _on_socket(self, fd: int, _purpose: int) -> int:
        os.set_inheritable(fd, False)  # pycurl's duplicate would otherwise live on in child processes
        return int(pycurl.SOCKOPT_OK)


def _line(name: str, value: str) -> bytes:
    return (f"{name}: {value}" if value else f"{name};").encode("latin-1")  # "Name:" would remove the header


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))  # 0 would mean: no limit
