"""A `requests` adapter whose connections check the address they dial, and can be cut off from another thread.

The URL is never rewritten to an address: Host, SNI and the certificate stay those of the name.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from dataclasses import dataclass
from time import monotonic
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from webhooks_app.core.addresses import is_literal, usable_addresses
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport.base import Request, TransportOptions
from webhooks_app.transport.resolver import Resolver

#: Hosts whose idle connections are kept. Each may have several, and descriptors are not endless.
_POOLS = 64


class Stopped(Exception):
    """No connection could be made. `kind` says what to record; urllib3 does not know this class and passes it on."""

    def __init__(self, kind: OutcomeKind, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


@dataclass(slots=True, eq=False)
class Job:
    """One request and how far it has come. Shared by the thread that carries it out and the one that watches time."""

    request: Request
    deadline: float
    begun: bool = False
    over: bool = False  # a response was given for it; what still arrives is dropped
    dialled: bool = False  # a new connection was opened for it, rather than one used again
    connection: _Checked | None = None

    def cut(self) -> None:
        """Wake the thread that is blocked on this job's connection."""
        connection = self.connection
        if connection is not None and connection.job is self:
            connection.cut()


class _Current(threading.local):
    """What the running thread works on; urllib3 gives no other way through to its connections."""

    job: Job | None = None


current = _Current()


class _Checked(HTTPConnection):
    """A connection to an address that was checked. `CheckedAdapter` gives it its resolver and its rules."""

    resolver: Resolver
    options: TransportOptions
    job: Job | None = None
    address = ""
    _spare: socket.socket | None = None

    def connect(self) -> None:
        """Dial, and shake hands where it is TLS. Raises Stopped."""
        self._take()
        try:
            super().connect()
        except TimeoutError:
            raise Stopped(OutcomeKind.TIMEOUT, "the TLS handshake timed out") from None
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError, ssl.CertificateError a ValueError
            raise Stopped(OutcomeKind.TLS_ERROR, str(error) or type(error).__name__) from error
        finally:
            spare, self._spare = self._spare, None
            if spare is not None:
                spare.close()

    def putrequest(self, *args: Any, **kwargs: Any) -> None:
        self._take()
        super().putrequest(*args, **kwargs)

    def cut(self) -> None:
        """Shut the socket down, so that whoever is blocked on it returns. From any thread."""
        for sock in (self._spare, self.sock):
            if sock is not None:
                with contextlib.suppress(OSError):
                    # Not the method of SSLSocket: that one takes the TLS object away under the reader's hands.
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _take(self) -> None:
        self.job = current.job
        if self.job is not None:
            self.job.connection = self

    def _new_conn(self) -> socket.socket:
        job = self.job
        assert job is not None
        job.dialled = True
        if self.options.proxy:  # the egress proxy resolves names, and must check them
            return super()._new_conn()
        until = min(job.deadline, monotonic() + job.request.connect_timeout)
        error = Stopped(OutcomeKind.REFUSED, "no address")
        for address in self._checked_addresses(until):
            try:
                return self._dial(address, until)
            except TimeoutError:
                error = Stopped(OutcomeKind.TIMEOUT, f"connecting to {address} timed out")
            except OSError as reason:
                error = Stopped(OutcomeKind.REFUSED, f"{address}: {reason}")
        raise error

    def _checked_addresses(self, until: float) -> tuple[str, ...]:
        host = self._dns_host.strip("[]")
        found: tuple[str, ...] = (host,)
        if not is_literal(host):
            try:
                answer = self.resolver.resolve(host, until - monotonic())
            except TimeoutError as error:
                raise Stopped(OutcomeKind.TIMEOUT, str(error)) from None
            if answer.error:
                raise Stopped(OutcomeKind.NAME_ERROR, answer.error)
            found = answer.addresses
        addresses = usable_addresses(found, self.options.addresses)
        if not addresses:
            raise Stopped(OutcomeKind.ADDRESS_NOT_ALLOWED, f"{host} is {', '.join(found)}, which is not sent to")
        return addresses

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
        self._parts = {"resolver": resolver, "options": options}
        # Made once: loading the authorities takes longer than a whole request. And not by `create_default_context`,
        # which heeds SSLKEYLOGFILE.
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
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

    def _pool_classes(self) -> Any:
        plain = type("CheckedConnection", (_Checked,), self._parts)
        tls = type("CheckedTLSConnection", (_CheckedTLS,), self._parts)
        return {
            "http": type("CheckedPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("CheckedTLSPool", (HTTPSConnectionPool,), {"ConnectionCls": tls}),
        }


def connection_address(job: Job) -> str:
    """The address that a job's connection leads to; empty where there is none."""
    return job.connection.address if job.connection is not None else ""
