"""A `requests` adapter whose connections check the address before they connect, and can be cut off from another thread.

The host name in the URL is never replaced by an address: Host, SNI and the certificate check use the name.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
from http.client import HTTPException
from time import monotonic
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from webhooks_app.core.addresses import is_literal
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport.base import OurFault, TransportOptions
from webhooks_app.transport.faults import fault_of, fault_of_errno, not_resolved_in_time, proxy_name, proxy_refusal
from webhooks_app.transport.handshakes import SteppedSocket
from webhooks_app.transport.own_addresses import connectable
from webhooks_app.transport.requests_job import Job, Stopped, current
from webhooks_app.transport.requests_response import CheckedResponse
from webhooks_app.transport.resolver import Resolver
from webhooks_app.transport.socket_bytes import bytes_read
from webhooks_app.transport.validation import target_of

#: The number of hosts whose idle connections are kept. Each may have several, and descriptors are limited.
_POOLS = 64
_IN_TIME = OutcomeKind.TIMEOUT, "the total deadline passed", ""
_TUNNEL_REFUSED = re.compile(r"Tunnel connection failed: (\d{3})")


class _Checked(HTTPConnection):
    """A connection to a checked address. `CheckedAdapter` sets its resolver and its options."""

    resolver: Resolver
    options: TransportOptions
    job: Job | None = None
    address = ""
    _spare: socket.socket | None = None
    _live: socket.socket | None = None
    _at_proxy = False

    def connect(self) -> None:
        """Connect, with the TLS handshake if it is https. Raises Stopped."""
        self._take()
        self._at_proxy = bool(self.options.proxy)
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

    def putrequest(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        """Send the request's own target: `requests` and urllib3 have normalised the one that they pass."""
        self._take()
        if self.job is not None:
            own = self.job.request.url
            url = target_of(own) if url.startswith("/") else own  # an egress proxy gets the whole URL
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
        return [sock for sock in (self._spare, self.sock, self._live) if sock is not None]

    def _take(self) -> None:
        self.job = current.job
        if self.job is not None:
            self.job.connection = self

    def _stopped(self, kind: OutcomeKind, detail: str, fault: str = "") -> Stopped:
        """Return the exception to raise. Every failure up to and including the egress proxy is a fault on our side."""
        if fault:
            return Stopped(OutcomeKind.NOT_SENT, detail, fault)
        if self._at_proxy:
            detail = f"the egress proxy {proxy_name(self.options.proxy)} failed: {detail}"
            return Stopped(OutcomeKind.NOT_SENT, detail, OurFault.PROXY)
        return Stopped(kind, detail)

    def _tunnel(self) -> None:
        """Ask the egress proxy to connect to the receiver. Raises Stopped."""
        name = proxy_name(self.options.proxy)
        silence = OutcomeKind.NOT_SENT, f"the egress proxy {name} did not answer CONNECT in time", OurFault.PROXY_TARGET
        if self.job is not None:
            self.job.late = silence
        try:
            super()._tunnel()
        except TimeoutError:
            raise Stopped(*silence) from None
        except (OSError, HTTPException) as error:
            refused = _TUNNEL_REFUSED.search(str(error))  # http.client reports the status only in the text
            if refused is not None:
                raise Stopped(*proxy_refusal(name, int(refused[1]))) from None
            raise self._stopped(OutcomeKind.NOT_SENT, str(error), fault_of(error) or "") from error
        self._at_proxy = False
        if self.job is not None:
            self.job.late = _IN_TIME

    def _new_conn(self) -> socket.socket:
        job = self.job
        assert job is not None
        job.dialled = True
        if self._at_proxy:
            detail = f"the egress proxy {proxy_name(self.options.proxy)} could not be connected to in time"
            job.late = OutcomeKind.NOT_SENT, detail, OurFault.PROXY
        until = min(job.deadline, monotonic() + job.request.connect_timeout)
        stopped = self._stopped(OutcomeKind.REFUSED, "no address")
        for address in self._checked_addresses(job, until):
            try:
                return self._dial(address, until)
            except TimeoutError:
                stopped = self._stopped(OutcomeKind.TIMEOUT, f"connecting to {address} timed out")
            except OSError as reason:
                fault = fault_of_errno(reason.errno or 0, ":" in address) or ""
                stopped = self._stopped(OutcomeKind.REFUSED, f"{address}: {reason}", fault)
        raise stopped

    def _checked_addresses(self, job: Job, until: float) -> tuple[str, ...]:
        host = self._dns_host.strip("[]")
        found: tuple[str, ...] = (host,)
        if not is_literal(host):
            found = self._resolve(job, host, until)
        if self._at_proxy:  # the operator chose this address; the proxy resolves the receiver's name, and must check it
            return found
        addresses = connectable(found, self.options.addresses)
        if not addresses:
            raise Stopped(OutcomeKind.ADDRESS_NOT_ALLOWED, f"{host} is {', '.join(found)}, which is not sent to")
        return addresses

    def _resolve(self, job: Job, host: str, until: float) -> tuple[str, ...]:
        job.resolving = host
        try:
            # All tenants need the proxy's name, so its lookup uses no tenant's share.
            answer = self.resolver.resolve(host, until - monotonic(), None if self._at_proxy else job.request.owner)
        except TimeoutError as error:
            if self.resolver.has_started(host):
                raise self._stopped(OutcomeKind.TIMEOUT, str(error)) from None
            self.resolver.give_up(host)
            raise Stopped(*not_resolved_in_time(host)) from None
        finally:
            job.resolving = ""
        if answer.error:
            raise self._stopped(OutcomeKind.NAME_ERROR, answer.error, answer.our_fault)
        return answer.addresses

    def _dial(self, address: str, until: float) -> socket.socket:
        seconds = until - monotonic()
        if seconds <= 0:
            raise TimeoutError
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(seconds)
            sock.connect((address, self.port))
            # TLS moves the descriptor to another object, so cutting off the handshake needs a duplicate.
            self._spare = sock.dup()
        except BaseException:
            sock.close()
            raise
        self.address = address
        return sock


class _CheckedTLS(_Checked, HTTPSConnection):
    """The same connection with TLS: urllib3's `HTTPSConnection.connect` calls our `_new_conn`."""


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
        self._parts: dict[str, Any] = {"resolver": resolver, "options": options}
        # Created once, because loading the certificate authorities takes longer than a whole request. `create_default_context`
        # is not used, because it obeys SSLKEYLOGFILE.
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._tls.hostname_checks_common_name = False  # only the subject's alternative names count
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._tls.set_ciphers(_without_dhe(self._tls))
        self._tls.load_verify_locations(ca_bundle)
        self._tls.set_alpn_protocols(["http/1.1"])
        self._tls.sslsocket_class = tls_socket
        super().__init__(pool_connections=_POOLS, pool_maxsize=connections)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._tls, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pool_classes()

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, ssl_context=self._tls, **kwargs)
        manager.pool_classes_by_scheme = self._pool_classes()
        return manager

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Require a valid certificate. The context has the authorities; `requests` would load them again for each connection."""
        conn.cert_reqs = "CERT_REQUIRED"

    def drop_idle(self) -> None:
        """Close the idle connections. Thread-safe."""
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            manager.clear()

    def _pool_classes(self) -> Any:
        limit = self._parts["options"].header_limit
        parts = {**self._parts, "response_class": type("Response", (CheckedResponse,), {"header_limit": limit})}
        plain = type("CheckedConnection", (_Checked,), parts)
        tls = type("CheckedTLSConnection", (_CheckedTLS,), parts)
        return {
            "http": type("CheckedPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("CheckedTLSPool", (HTTPSConnectionPool,), {"ConnectionCls": tls}),
        }


def _without_dhe(context: ssl.SSLContext) -> str:
    """Return the ciphers of a context without DHE, because the receiver chooses the DHE group.

    With 8,192 bits, each handshake takes 0.4 s of processor time, and the handshakes of many threads block all other requests.
    """
    ciphers = context.get_ciphers()  # the ciphers of TLS 1.3 are not set this way
    return ":".join(c["name"] for c in ciphers if c["protocol"] != "TLSv1.3" and c["kea"] != "kx-dhe")
