"""A reusable libcurl handle: it takes a request, returns its response, and checks every address before it connects."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import certifi
import pycurl

from webhooks_app.core.client_tls import ClientTLS
from webhooks_app.core.proxies import parse_proxy
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport.base import OurFault, Request, Response, TransportOptions
from webhooks_app.transport.connection_check import may_connect
from webhooks_app.transport.curl_callbacks import Dialled, guarded
from webhooks_app.transport.curl_options import configure
from webhooks_app.transport.curl_outcome import Failure, Sockets, failure_of, our_failure
from webhooks_app.transport.curl_received import Received
from webhooks_app.transport.curl_request import RequestOptions
from webhooks_app.transport.curl_reuse import UNASKED, OpenConnections, Reuse
from webhooks_app.transport.curl_tls import HandleTLS, Verified
from webhooks_app.transport.faults import not_sent
from webhooks_app.transport.socket_bytes import NO_SOCKET, OpenSocket, bytes_read
from webhooks_app.transport.source_addresses import bind_source, may_leave, no_source
from webhooks_app.transport.validation import ADDRESS_CHARACTERS, CUT_SHORT, cut_text

#: A code for `finish` besides libcurl's codes: the request was stopped because its body took too long.
BODY_LATE = -1
#: Another one: its connection brought too much.
CUT_OFF = -2
#: The start of libcurl's message if every kept connection that it tried was closed (`Curl_retry_request`).
_DIED = "Connection died"
#: About how much a TLS handshake may bring (bytes).
_MOST_OF_HANDSHAKE = 100_000


class Handle:
    """A pycurl easy handle, with the state of its current request."""

    __slots__ = (
        "_addresses",
        "_bytes_at_end",
        "_fresh",
        "_newest",
        "_options",
        "_proxy",
        "_read_before",
        "_received",
        "_reuse",
        "_socket_opened",
        "_sockets",
        "_sources",
        "_tls",
        "connection",
        "curl",
        "keep_error",
        "kept_busy",
        "request",
        "serial",
        "waited",
    )

    def __init__(
        self,
        options: TransportOptions,
        keep_error: Callable[[BaseException], None],
        headers_complete: Callable[[Handle], None],
        socket_opened: Callable[[int, object], None],
        bytes_at_end: Callable[[int], int],
        connections: OpenConnections,
        verified: Verified,
    ) -> None:
        self.keep_error = keep_error
        self._socket_opened, self._bytes_at_end = socket_opened, bytes_at_end
        self._reuse = Reuse(connections)
        self._addresses, self._sources = options.addresses, options.source_addresses
        self._proxy = parse_proxy(options.proxy) if options.proxy else None
        self.request: Request | None = None
        #: The number of requests that this handle has sent.
        self.serial = 0
        #: True: the request gets a new connection.
        self._fresh = False
        #: Seconds that the request waited before it was loaded; part of its duration.
        self.waited = 0.0
        self._received = Received(options, partial(headers_complete, self), self._reuse.refuses, self.stop, keep_error)
        self._reset()
        self.curl: Any = pycurl.Curl()
        self._options = RequestOptions(self.curl, by_proxy=self._proxy is not None)
        self._tls = HandleTLS(self.curl, verified)
        configure(self.curl, self._proxy, options.ca_bundle or certifi.where())
        self._set_callbacks()

    def _reset(self, least_body: int = 0) -> None:
        self._received.reset(least_body)
        self._reuse.reset()
        self._sockets = Sockets()
        #: The last socket opened for this request, and the TLS connection that it uses once the handshake is complete.
        self._newest = self.connection = NO_SOCKET
        #: With TLS, that connection, or before that all sockets opened for this request (some may be closed), each with how many
        #: bytes had been read from it when they were counted last.
        self._read_before: dict[OpenSocket, int] = {}
        #: It may have kept libcurl busy, and its owner is over the budget.
        self.kept_busy = False

    def _set_callbacks(self) -> None:
        setopt = self.curl.setopt
        setopt(pycurl.WRITEFUNCTION, self._received.on_body)
        setopt(pycurl.HEADERFUNCTION, self._received.on_header)
        setopt(pycurl.OPENSOCKETFUNCTION, self._on_open_socket)
        setopt(pycurl.SOCKOPTFUNCTION, self._on_socket)
        setopt(pycurl.PREREQFUNCTION, self._on_request)

    def prepare(self, request: Request, seconds: float, resolve: str) -> None:
        """Load a checked request, which may take `seconds` from now. `resolve` is `+host:port:address,…`, or with an egress
        proxy `host:port:address:port`; empty if libcurl gets the host from the URL."""
        self._reset(request.least_body)
        self._options.load(request, seconds, resolve)
        if request.tls is not None:
            self._tls.load(request.tls)
        self.waited = request.total_timeout - seconds
        self.serial += 1
        self.request = request

    def prepare_again(self, code: int, message: str) -> bool:
        """Load the same request again: for a new connection if the kept ones could not be used, or with the other certificate
        authorities. Return whether it did.

        A receiver, or a firewall in front of it, may close all kept connections at once. libcurl tries five of them and then
        fails the whole request. No byte of a response has arrived on any of them. Or there was a response before the request.
        """
        request = self.request
        if request is None or (code == pycurl.E_OK and not self._reuse.unasked):
            return False
        left = request.total_timeout - self.waited - self.curl.getinfo(pycurl.TOTAL_TIME)
        died = code == pycurl.E_SEND_ERROR and message.startswith(_DIED)
        needs_new = not self._fresh and (died or self._reuse.unasked)
        if left <= 0 or not (needs_new or self._tls.may_try_others(request.tls, code, message)):
            return False
        self.prepare(request, left, self._options.resolve)
        if needs_new:
            self.curl.setopt(pycurl.FRESH_CONNECT, 1)
            self._fresh = True
        return True

    def finish(self, code: int, message: str) -> Response:
        """Return the response of a request that ended with `code`, and free the handle."""
        request, self.request = self.request, None
        assert request is not None
        if self._fresh:
            self.curl.setopt(pycurl.FRESH_CONNECT, 0)
            self._fresh = False
        seconds = self.waited + self.curl.getinfo(pycurl.TOTAL_TIME)
        address = self.curl.getinfo(pycurl.PRIMARY_IP)[:ADDRESS_CHARACTERS]
        received = self._received
        failure = self._why_none(code, self._tls.explained(code, message), request.tls)
        if failure is not None:
            kind, text, fault = failure.kind, cut_text(failure.detail), str(failure.our_fault)
            return Response(request.token, None, received.headers, b"", seconds, kind, text, address, our_fault=fault)
        complete = code == pycurl.E_OK or received.over_limit
        return Response(
            request.token,
            received.status,
            received.headers,
            b"".join(received.body),
            seconds,
            detail="" if complete else self._why_cut(code, message),
            address=address,
            truncated=received.over_limit or not complete,
            http_version=received.version,
        )

    @property
    def descriptor(self) -> int:
        """Return the descriptor of the request's connection; -1 if there is none yet, or if it is closed."""
        descriptor = int(self.curl.getinfo(pycurl.ACTIVESOCKET))
        if descriptor >= 0:
            return descriptor
        # libcurl does not tell it while it connects, nor after it has closed it: then another request may use the number.
        return self._newest.fd if self._newest.is_open else -1

    def note_connection(self) -> bool:
        """Note which connection the request uses, once its TLS handshake is complete. Return False as long as it is not."""
        if self.request is None or not self._options.is_https:
            return True
        if self._read_before and not self.curl.getinfo(pycurl.APPCONNECT_TIME):
            return False
        self.connection = OpenSocket.of(int(self.curl.getinfo(pycurl.ACTIVESOCKET)))
        self._read_before = {}
        if self.connection.fd < 0:
            return False
        self._socket_opened(self.connection.fd, self.owner)
        self._read_before[self.connection] = bytes_read(self.connection.fd)
        return True

    @property
    def owner(self) -> object:
        return self.request.owner if self.request is not None else None

    def forget_reads(self) -> None:
        """Count the bytes of TLS that are read from now on."""
        if self._read_before:
            self._read_before = {sock: sock.bytes_read() for sock in self._read_before}

    def tls_read(self, removed: Mapping[int, object]) -> dict[int, int]:
        """Return how much TLS was read recently from the connections of this request (bytes), by descriptor; only if it was any.

        `removed`: as of `CostlyRequests.charge`. Thread-safe while the transport's thread is in a call of libcurl."""
        if self.request is None or not self._options.is_https:
            return {}
        found = {}
        for sock, before in list(self._read_before.items()):
            if sock.is_open:
                size = sock.bytes_read() - before
            else:  # closed during the call: the size is unknown
                size = _MOST_OF_HANDSHAKE if sock.fd in removed and removed[sock.fd] == self.owner else 0
            if size > 0:
                found[sock.fd] = size
        return found

    def refuse(self, failure: Failure) -> None:
        """Record that this is not a response, even if its headers are complete."""
        self._received.refuse(failure)

    @property
    def waits_for_tls(self) -> bool:
        """Return whether TLS may still be read for this request, because there is no response."""
        return self.request is not None and self._options.is_https and not self._received.complete

    def stop(self, error: Exception) -> None:
        """Record that one of our callbacks failed. A response with complete headers remains a response."""
        if self.request is None:
            return
        response = not_sent(self.request, error)
        if self._received.complete:
            self._received.cut = response.detail
        else:
            self._received.failure = our_failure(response.detail, OurFault(response.our_fault))

    def _why_none(self, code: int, message: str, tls: ClientTLS | None) -> Failure | None:
        """Return the failure; None if the headers of a final response are complete."""
        received = self._received
        if received.complete:
            return None
        # A socket could not be opened, but another address of the same name responded or timed out.
        if received.failure is not None and code not in (pycurl.E_OK, pycurl.E_OPERATION_TIMEDOUT):
            return received.failure
        self._sockets.received = self._bytes_at_end(self._newest.fd)
        return failure_of(self.curl, code, message, self._sockets, self._proxy, tls)

    def _why_cut(self, code: int, message: str) -> str:
        if code == BODY_LATE:
            return message
        if code == pycurl.E_OPERATION_TIMEDOUT:
            return "the body was not complete at the deadline"
        return cut_text(f"{CUT_SHORT}: {self._received.cut or message}")

    def close(self) -> None:
        self.curl.close()

    @guarded(pycurl.SOCKET_BAD)
    def _on_open_socket(self, _purpose: int, address: Any) -> Any:
        """Check the address that libcurl is about to connect to, and open the socket."""
        if not self._proxy and not may_connect(address.addr[0], self._addresses):
            self._received.failure = Failure(OutcomeKind.ADDRESS_NOT_ALLOWED, f"{address.addr[0]} is not sent to")
            return pycurl.SOCKET_BAD
        if not may_leave(address.addr[0], self._sources):
            self._received.failure = Failure(OutcomeKind.REFUSED, no_source(address.addr[0]))
            return pycurl.SOCKET_BAD
        opened = Dialled(address.family, address.socktype, address.protocol)
        bind_source(opened, self._sources)
        self._sockets.lost += 1
        self._sockets.ipv6 = self._sockets.ipv6 or address.family == socket.AF_INET6
        return opened

    @guarded(pycurl.SOCKOPT_ERROR)
    def _on_socket(self, fd: int, _purpose: int) -> int:
        self._sockets.lost -= 1
        self._newest = OpenSocket.of(fd)
        if self._options.is_https:
            self._read_before[self._newest] = 0
        self._sockets.descriptors.append(fd)
        self._socket_opened(fd, self.owner)
        os.set_inheritable(fd, False)  # otherwise child processes would inherit pycurl's duplicate
        return int(pycurl.SOCKOPT_OK)

    @guarded(pycurl.PREREQFUNC_ABORT)
    def _on_request(self, remote_ip: str, local_ip: str, remote_port: int, local_port: int) -> int:
        """Check the connection that libcurl is about to send the request on."""
        tls = self._options.is_https or (self._proxy is not None and self._proxy.scheme == "https")
        self._sockets.requested = True
        ends = local_ip, local_port, remote_ip, remote_port
        if self._reuse.begin(ends, self._sockets.descriptors, tls=tls):
            return int(pycurl.PREREQFUNC_OK)
        self.refuse(Failure(OutcomeKind.PROTOCOL_ERROR, UNASKED))
        return int(pycurl.PREREQFUNC_ABORT)
