"""A `requests` adapter whose connections check the address before they connect, and can be cut off from another thread.

The host name in the URL is never replaced by an address: Host, SNI and the certificate check use the name.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from time import monotonic
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.ssltransport import SSLTransport

from webhooks_app.core.addresses import is_literal
from webhooks_app.core.proxies import Proxy, parse_proxy
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport.base import OurFault, TransportOptions
from webhooks_app.transport.connection_check import address_for_proxy, addresses_to_connect
from webhooks_app.transport.faults import (
    fault_of,
    fault_of_errno,
    not_resolved_in_time,
    proxy_failure,
    proxy_not_connected,
    proxy_silence,
)
from webhooks_app.transport.handshakes import SteppedSocket
from webhooks_app.transport.requests_job import Job, Stopped, current
from webhooks_app.transport.requests_response import CheckedResponse
from webhooks_app.transport.requests_tls import Contexts
from webhooks_app.transport.requests_tunnel import Tunnel
from webhooks_app.transport.resolver import Resolver
from webhooks_app.transport.socket_bytes import bytes_read
from webhooks_app.transport.source_addresses import BindFailed, bind_source, may_leave, no_source
from webhooks_app.transport.validation import target_of

#: The number of hosts whose idle connections are kept. Each may have several, and descriptors are limited.
_POOLS = 64
_IN_TIME = OutcomeKind.TIMEOUT, "the total deadline passed", ""


class _Checked(HTTPConnection):
    """A connection to a checked address. `CheckedAdapter` sets the resolver, the options and what follows from them."""

    resolver: Resolver
    options: TransportOptions
    proxy_server: Proxy | None
    tls: ssl.SSLContext
    job: Job | None = None
    address = ""
    _spare: socket.socket | None = None
    _live: socket.socket | None = None
    _at_proxy = False

    def connect(self) -> None:
        """Connect, with the TLS handshake if it is https. Raises Stopped."""
        self._take()
        self._at_proxy = False
        try:
            super().connect()
        except TimeoutError:
            raise self._stopped(OutcomeKind.TIMEOUT, "the TLS handshake timed out") from None
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError, ssl.CertificateError a ValueError
            text = str(error) or type(error).__name__
            raise self._stopped(OutcomeKind.TLS_ERROR, text, fault_of(error) or "") from error
        finally:
            spare, self._spare = self._spare, None
            if spare is not None:
                spare.close()
        if self.job is not None:
            self.job.late = _IN_TIME

    @property
    def is_connected(self) -> bool:
        """Return whether the connection can be used again: nothing has been received since the last response."""
        # TLS through an https proxy reads ahead, so this is unknown.
        return super().is_connected and not isinstance(self.sock, SSLTransport)

    def putrequest(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        """Send the request's own target: `requests` and urllib3 have normalised the one that they pass."""
        self._take()
        if self.job is not None:
            url = target_of(self.job.request.url)
        super().putrequest(method, url, *args, **kwargs)

    def getresponse(self) -> Any:
        self._live = self.sock  # http.client closes a connection that is not kept, but not the response
        return super().getresponse()

    def cut(self) -> None:
        """Shut down the socket, so that the thread that is blocked on it returns. Thread-safe."""
        for sock in self._sockets():
            with contextlib.suppress(OSError):
                # Not the method of SSLSocket: that one removes the TLS object while the other thread reads from it.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def bytes_read(self) -> int:
        """Return how many bytes were read from this connection; 0 if unknown. Thread-safe."""
        for sock in self._sockets():
            descriptor = sock.fileno()
            size = bytes_read(descriptor) if descriptor >= 0 else 0
            # If it was closed meanwhile, another socket may have its number.
            if size and sock.fileno() == descriptor:
                return size
        return 0

    def _sockets(self) -> list[socket.socket]:
        """Return this connection's possible sockets: during the TLS handshake, and while the response is read."""
        # TLS through an https proxy is an object around the connection to the proxy.
        return [getattr(sock, "socket", sock) for sock in (self._spare, self.sock, self._live) if sock is not None]

    def _take(self) -> None:
        self.job = current.job
        if self.job is not None:
            self.job.connection = self

    def _stopped(self, kind: OutcomeKind, detail: str, fault: str = "") -> Stopped:
        """Return the exception to raise. Every failure up to and including the egress proxy is a fault on our side."""
        if fault:
            return Stopped(OutcomeKind.NOT_SENT, detail, fault)
        if self._at_proxy and self.proxy_server is not None:
            return Stopped(OutcomeKind.NOT_SENT, proxy_failure(self.proxy_server.name, detail), OurFault.PROXY)
        return Stopped(kind, detail)

    def _new_conn(self) -> socket.socket:
        job = self.job
        assert job is not None
        job.dialled = True
        until = min(job.deadline, monotonic() + job.request.connect_timeout)
        host = self._dns_host.strip("[]")
        if self.proxy_server is None:
            return self._dial_any(self._checked_addresses(job, host, until), self.port, until)
        if not self.options.proxy_resolves_names:
            host = address_for_proxy(self._checked_addresses(job, host, until))
        return self._open_tunnel(job, self.proxy_server, host, until)

    def _open_tunnel(self, job: Job, proxy: Proxy, host: str, until: float) -> socket.socket:
        """Return a connection to the receiver through the egress proxy. Raises Stopped."""
        self._at_proxy = True
        job.late = proxy_not_connected(proxy.name)
        found = (proxy.host,) if is_literal(proxy.host) else self._resolve(job, proxy.host, until)
        sock = self._dial_any(found, proxy.port, until)  # the operator chose this address
        try:
            if proxy.scheme == "https":
                sock = self.tls.wrap_socket(sock, server_hostname=proxy.host)
            job.late = proxy_silence(proxy.name)
            Tunnel(sock, proxy, until).open(host, self.port)
        except BaseException:
            sock.close()
            raise
        self._at_proxy = False
        job.late = _IN_TIME
        return sock

    def _dial_any(self, addresses: tuple[str, ...], port: int, until: float) -> socket.socket:
        """Connect to the first of these addresses that accepts. Raises Stopped."""
        stopped = self._stopped(OutcomeKind.REFUSED, "no address")
        for address in addresses:
            if not may_leave(address, self.options.source_addresses):
                stopped = self._stopped(OutcomeKind.REFUSED, no_source(address))
                continue
            try:
                return self._dial(address, port, until)
            except TimeoutError:
                stopped = self._stopped(OutcomeKind.TIMEOUT, f"connecting to {address} timed out")
            except OSError as reason:
                fault = fault_of_errno(reason.errno or 0, ":" in address) or ""
                if isinstance(reason, BindFailed):
                    fault = OurFault.PORTS
                stopped = self._stopped(OutcomeKind.REFUSED, f"{address}: {reason}", fault)
        raise stopped

    def _checked_addresses(self, job: Job, host: str, until: float) -> tuple[str, ...]:
        found = (host,) if is_literal(host) else self._resolve(job, host, until)
        addresses = addresses_to_connect(found, self.options.addresses)
        if not addresses:
            raise Stopped(OutcomeKind.ADDRESS_NOT_ALLOWED, f"{host} is {', '.join(found)}, which is not sent to")
        return addresses

    def _resolve(self, job: Job, host: str, until: float) -> tuple[str, ...]:
        job.resolving = host
        try:
            # All tenants need the proxy's name, so its lookup uses no tenant's share.
            resolution = self.resolver.resolve(host, until - monotonic(), None if self._at_proxy else job.request.owner)
        except TimeoutError as error:
            if self.resolver.has_started(host):
                raise self._stopped(OutcomeKind.TIMEOUT, str(error)) from None
            self.resolver.give_up(host)
            raise Stopped(*not_resolved_in_time(host)) from None
        finally:
            job.resolving = ""
        if resolution.error:
            raise self._stopped(OutcomeKind.NAME_ERROR, resolution.error, resolution.our_fault)
        return resolution.addresses

    def _dial(self, address: str, port: int, until: float) -> socket.socket:
        seconds = until - monotonic()
        if seconds <= 0:
            raise TimeoutError
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(seconds)
            bind_source(sock, self.options.source_addresses)
            sock.connect((address, port))
            # TLS moves the descriptor to another object, so cutting off the handshake needs a duplicate.
            self._spare = sock.dup()
        except BaseException:
            sock.close()
            raise
        self.address = address
        return sock


class _CheckedTLS(_Checked, HTTPSConnection):
    """The same connection with TLS: urllib3's `HTTPSConnection.connect` calls our `_new_conn`."""

    def send(self, data: Any) -> None:
        """Send a part of the request. If the receiver has sent an alert and closed the connection, raise the alert, which says
        why: with TLS 1.3 it comes after the handshake."""
        try:
            super().send(data)
        except OSError as error:
            try:
                self.sock.recv(1)
            except ssl.SSLError as alert:
                if "alert" in str(alert):
                    raise alert from None
            except (OSError, ValueError):
                pass
            raise error


class CheckedAdapter(HTTPAdapter):
    """Opens checked connections and keeps them open. It does not override `send`, so that `responses` can replace it."""

    def __init__(
        self,
        options: TransportOptions,
        resolver: Resolver,
        ca_bundle: str,
        connections: int,
        tls_socket: type[SteppedSocket],
    ) -> None:
        # Created once, because loading the certificate authorities takes longer than a whole request.
        self._contexts = Contexts(ca_bundle, tls_socket)
        self._parts: dict[str, Any] = {
            "resolver": resolver,
            "options": options,
            "proxy_server": parse_proxy(options.proxy) if options.proxy else None,
            "tls": self._contexts.usual,
        }
        super().__init__(pool_connections=_POOLS, pool_maxsize=connections)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._contexts.usual, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pool_classes()

    def request_url(self, *args: Any, **kwargs: Any) -> str:
        """Return a path for urllib3's log and errors. The connection sends the request's own target, which may contain tokens."""
        return "/"

    def build_connection_pool_key_attributes(self, *args: Any, **kwargs: Any) -> Any:
        """Give each ClientTLS pools of its own: the context is a part of their key."""
        host, pool = super().build_connection_pool_key_attributes(*args, **kwargs)
        tls = current.job.request.tls if current.job is not None else None
        if tls is not None:
            pool["ssl_context"] = self._contexts.of(tls)
        return host, pool

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Require a valid certificate. The context has the authorities; `requests` would load them again for each connection."""
        conn.cert_reqs = "CERT_REQUIRED"

    def drop_idle(self) -> None:
        """Close the idle connections. Thread-safe."""
        self.poolmanager.clear()

    def _pool_classes(self) -> Any:
        limit = self._parts["options"].header_limit
        parts = {**self._parts, "response_class": type("Response", (CheckedResponse,), {"header_limit": limit})}
        plain = type("CheckedConnection", (_Checked,), parts)
        tls = type("CheckedTLSConnection", (_CheckedTLS,), parts)
        return {
            "http": type("CheckedPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("CheckedTLSPool", (HTTPSConnectionPool,), {"ConnectionCls": tls}),
        }
