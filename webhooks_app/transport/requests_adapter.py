"""A `requests` adapter whose connections check the address they dial, and can be cut off from another thread.

The URL is never rewritten to an address: Host, SNI and the certificate stay those of the name.
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

from webhooks_app.core.addresses import is_literal, usable_addresses
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport.base import OurFault, TransportOptions
from webhooks_app.transport.faults import fault_of, fault_of_errno, not_resolved_in_time, proxy_name, proxy_refusal
from webhooks_app.transport.requests_job import Job, Stopped, current
from webhooks_app.transport.requests_response import CheckedResponse
from webhooks_app.transport.resolver import Resolver
from webhooks_app.transport.socket_bytes import bytes_read

#: Hosts whose idle connections are kept. Each may have several, and descriptors are not endless.
_POOLS = 64
_IN_TIME = OutcomeKind.TIMEOUT, "the total deadline passed", ""
_TUNNEL_REFUSED = re.compile(r"Tunnel connection failed: (\d{3})")


class _Checked(HTTPConnection):
    """A connection to an address that was checked. `CheckedAdapter` gives it its resolver and its rules."""

    resolver: Resolver
    options: TransportOptions
    job: Job | None = None
    address = ""
    _spare: socket.socket | None = None
    _live: socket.socket | None = None
    _at_proxy = False

    def connect(self) -> None:
        """Dial, and shake hands where it is TLS. Raises Stopped."""
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

    def putrequest(self, *args: Any, **kwargs: Any) -> None:
        self._take()
        super().putrequest(*args, **kwargs)

    def getresponse(self) -> Any:
        self._live = self.sock  # http.client closes the connection, but not the response, where it is not kept
        return super().getresponse()

    def cut(self) -> None:
        """Shut the socket down, so that the thread that is blocked on it returns. From any thread."""
        for sock in self._sockets():
            with contextlib.suppress(OSError):
                # Not the method of SSLSocket: that one takes the TLS object away under the reader's hands.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def bytes_read(self) -> int:
        """Return how many bytes were read from this connection; 0 where that is not known. From any thread."""
        for sock in self._sockets():
            descriptor = sock.fileno()
            size = bytes_read(descriptor) if descriptor >= 0 else 0
            if (
                size and sock.fileno() == descriptor
            ):  # else it was closed meanwhile, and another one may have its number
                return size
        return 0

    def _sockets(self) -> list[socket.socket]:
        """Return the sockets that may be this connection's: while it shakes hands, and while its response is read."""
        return [sock for sock in (self._spare, self.sock, self._live) if sock is not None]

    def _take(self) -> None:
        self.job = current.job
        if self.job is not None:
            self.job.connection = self

    def _stopped(self, kind: OutcomeKind, detail: str, fault: str = "") -> Stopped:
        """Return what to raise: up to and with the egress proxy, every failure is ours."""
        if fault:
            return Stopped(OutcomeKind.NOT_SENT, detail, fault)
        if self._at_proxy:
            detail = f"the egress proxy {proxy_name(self.options.proxy)} failed: {detail}"
            return Stopped(OutcomeKind.NOT_SENT, detail, OurFault.PROXY)
        return Stopped(kind, detail)

    def _tunnel(self) -> None:
        """Ask the egress proxy for the receiver. Raises Stopped."""
        name = proxy_name(self.options.proxy)
        silence = OutcomeKind.NOT_SENT, f"the egress proxy {name} did not answer CONNECT in time", OurFault.PROXY_TARGET
        if self.job is not None:
            self.job.late = silence
        try:
            super()._tunnel()
        except TimeoutError:
            raise Stopped(*silence) from None
        except (OSError, HTTPException) as error:
            refused = _TUNNEL_REFUSED.search(str(error))  # http.client tells the status only so
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
        if self._at_proxy:  # the operator's choice; the proxy resolves the receiver's name, and must check it
            return found
        addresses = usable_addresses(found, self.options.addresses)
        if not addresses:
            raise Stopped(OutcomeKind.ADDRESS_NOT_ALLOWED, f"{host} is {', '.join(found)}, which is not sent to")
        return addresses

    def _resolve(self, job: Job, host: str, until: float) -> tuple[str, ...]:
        job.resolving = host
        try:
            # The proxy's name is everybody's: no tenant's share is to hold it up.
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
            # TLS moves the descriptor into another object; the handshake can be cut off only through a second one.
            self._spare = sock.dup()
        except BaseException:
            sock.close()
            raise
        self.address = address
        return sock


class _CheckedTLS(_Checked, HTTPSConnection):
    """The same with TLS: urllib3's `HTTPSConnection.connect` calls our `_new_conn`."""


class CheckedAdapter(HTTPAdapter):
    """Makes checked connections and keeps them open. It has no `send` of its own, so `responses` can take its place."""

    def __init__(self, options: TransportOptions, resolver: Resolver, ca_bundle: str, connections: int) -> None:
        self._parts: dict[str, Any] = {"resolver": resolver, "options": options}
        # Made once: loading the authorities takes longer than a whole request. And not by `create_default_context`,
        # which heeds SSLKEYLOGFILE.
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._tls.set_ciphers(_without_dhe(self._tls))
        self._tls.load_verify_locations(ca_bundle)
        self._tls.set_alpn_protocols(["http/1.1"])
        super().__init__(pool_connections=_POOLS, pool_maxsize=connections)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._tls, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pool_classes()

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, ssl_context=self._tls, **kwargs)
        manager.pool_classes_by_scheme = self._pool_classes()
        return manager

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """The context has the authorities already; `requests` would load them anew for each connection."""
        conn.cert_reqs = "CERT_REQUIRED"

    def drop_idle(self) -> None:
        """Close the connections that nobody uses. From any thread."""
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
    """Return the ciphers of a context but for DHE, where the receiver chooses the numbers: with one of 8,192 bits each
    handshake takes 0.4 s of a processor, and those of many threads leave nothing to the others."""
    ciphers = context.get_ciphers()  # the ciphers of TLS 1.3 are not set this way
    return ":".join(c["name"] for c in ciphers if c["protocol"] != "TLSv1.3" and c["kea"] != "kx-dhe")
