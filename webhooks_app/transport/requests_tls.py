"""The TLS contexts of the `requests` transport: the usual one, and one for each ClientTLS in use."""

from __future__ import annotations

import os
import secrets
import ssl
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from urllib3.util.ssltransport import SSLTransport

from webhooks_app.core.client_tls import ClientTLS
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport.requests_job import Stopped

#: How many contexts to keep. Each has 0.7 MB, and takes 13 ms to create.
_MAX_CONTEXTS = 128


class _Context(ssl.SSLContext):
    """A TLS context that can also wrap a TLS connection, to an https proxy."""

    def wrap_socket(self, sock: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(sock, ssl.SSLSocket):
            return SSLTransport(sock, self, kwargs["server_hostname"])
        return super().wrap_socket(sock, *args, **kwargs)


class Contexts:
    """Contexts that trust the same public authorities. Thread-safe."""

    def __init__(self, ca_bundle: str, tls_socket: type[ssl.SSLSocket] = ssl.SSLSocket) -> None:
        self._ca_bundle = ca_bundle
        self._tls_socket = tls_socket
        self.usual = self._new()
        #: The last ones used, by digest; the most recent last. A lock each, so that one is created only once.
        self._kept: OrderedDict[str, _Slot] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, tls: ClientTLS) -> ssl.SSLContext:
        """Return the context with this client certificate and these authorities. Raises Stopped if OpenSSL refuses them, and
        OSError."""
        with self._lock:
            slot = self._kept.setdefault(tls.digest, _Slot())
            self._kept.move_to_end(tls.digest)
            while len(self._kept) > _MAX_CONTEXTS:
                self._kept.popitem(last=False)
        with slot.lock:
            if slot.context is None:
                slot.context = self._with(tls)
            return slot.context

    def _with(self, tls: ClientTLS) -> ssl.SSLContext:
        context = self._new()
        if refusal := load_client_tls(context, tls):
            raise Stopped(OutcomeKind.TLS_ERROR, f"the endpoint's certificates cannot be used: {refusal}")
        return context

    def _new(self) -> ssl.SSLContext:
        # `create_default_context` is not used, because it obeys SSLKEYLOGFILE.
        context = _Context(ssl.PROTOCOL_TLS_CLIENT)
        context.sslsocket_class = self._tls_socket
        context.hostname_checks_common_name = False  # only the subject's alternative names count
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # A renegotiation is a handshake within a read: it would take no turn, and may compute for a minute.
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_ciphers(_without_dhe(context))
        context.load_verify_locations(self._ca_bundle)
        context.set_alpn_protocols(["http/1.1"])
        return context


class _Slot:
    """A context that is created by the first thread that needs it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.context: ssl.SSLContext | None = None


def load_client_tls(context: ssl.SSLContext, tls: ClientTLS) -> str:
    """Load the certificates into a context. Return why OpenSSL refuses them; empty if it does not. Raises OSError."""
    try:
        if tls.authorities:
            context.load_verify_locations(cadata=tls.authorities.decode("ascii"))
            # As libcurl does it: an intermediate authority may be trusted without its root.
            context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        if tls.certificate:
            with _certificate_file(tls) as (path, password):
                context.load_cert_chain(path, password=password)
    except ssl.SSLError as error:
        return error.reason or type(error).__name__
    return ""


@contextmanager
def _certificate_file(tls: ClientTLS) -> Iterator[tuple[str, str | None]]:
    """Yield the path of a file with the certificate and the private key, and its password: `ssl` reads them only from files.

    On Linux it is in memory and has no name. Elsewhere it is a temporary file that only this user may read, and the key in it
    is encrypted with a password that is never written.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("webhooks")  # child processes do not inherit it
        with os.fdopen(descriptor, "wb") as file:
            file.write(tls.private_key + tls.certificate)
            file.flush()
            yield f"/proc/self/fd/{descriptor}", None
        return
    password = secrets.token_urlsafe(32)
    descriptor, path = tempfile.mkstemp(prefix="webhooks-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(_encrypted(tls.private_key, password) + tls.certificate)
        yield path, password
    finally:
        os.unlink(path)


def _encrypted(private_key: bytes, password: str) -> bytes:
    key = load_pem_private_key(private_key, None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password.encode()))


def _without_dhe(context: ssl.SSLContext) -> str:
    """Return the ciphers of a context without DHE, because the receiver chooses the DHE group.

    With 8,192 bits, each handshake takes 0.4 s of processor time, and the handshakes of many threads block all other requests.
    """
    ciphers = context.get_ciphers()  # the ciphers of TLS 1.3 are not set this way
    return ":".join(c["name"] for c in ciphers if c["protocol"] != "TLSv1.3" and c["kea"] != "kx-dhe")
