"""Ask an egress proxy to connect to the receiver: CONNECT (RFC 9110, section 9.3.6) or SOCKS5 (RFC 1928 and 1929)."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from time import monotonic

from webhooks_app.core.addresses import is_literal
from webhooks_app.core.authentication import basic
from webhooks_app.core.proxies import Proxy
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport.base import OurFault
from webhooks_app.transport.faults import proxy_failure, proxy_refusal, proxy_silence, socks_refusal
from webhooks_app.transport.requests_job import Stopped
from webhooks_app.transport.response_head import status_of

#: The maximum number of bytes of a response to CONNECT.
_HEAD_BYTES = 8 * 1024
_SOCKS, _NO_AUTHENTICATION, _PASSWORD, _NO_METHOD = 5, 0, 2, 0xFF
_V4, _NAME, _V6 = 1, 3, 4
_SUCCEEDED = 0


class Tunnel:
    """A connection to an egress proxy that becomes one to the receiver."""

    def __init__(self, sock: socket.socket, proxy: Proxy, until: float) -> None:
        """`until`: when the proxy must have responded (`time.monotonic`)."""
        self._sock = sock
        self._proxy = proxy
        self._until = until

    def open(self, host: str, port: int) -> None:
        """Let the proxy connect to this address or name. Raises Stopped.

        Nothing is read beyond the proxy's response: what follows is the receiver's.
        """
        try:
            if self._proxy.is_socks:
                self._negotiate()
                self._open_by_socks(host, port)
            else:
                self._connect(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        except TimeoutError:
            raise Stopped(*proxy_silence(self._proxy.name)) from None
        except OSError as error:
            raise self._failed(str(error) or type(error).__name__) from error

    def _connect(self, authority: str) -> None:
        lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
        if self._proxy.user:
            lines.append(f"Proxy-Authorization: {basic(self._proxy.user, self._proxy.password)}")
        self._send("\r\n".join((*lines, "", "")).encode())
        head = bytearray()
        while not head.endswith((b"\r\n\r\n", b"\n\n")):
            head += self._read(1)
            if len(head) > _HEAD_BYTES:
                raise self._failed("its response to CONNECT has too many headers")
        parsed = status_of(bytes(head))
        if parsed is None:
            raise self._failed("its response to CONNECT is not valid")
        if parsed[1] // 100 != 2:
            challenged = bool(self._proxy.user) or b"\nproxy-authenticate:" in head.lower()
            raise Stopped(*proxy_refusal(self._proxy.name, parsed[1], challenged=challenged))

    def _negotiate(self) -> None:
        user, password = self._proxy.user.encode(), self._proxy.password.encode()
        methods = bytes((_NO_AUTHENTICATION, _PASSWORD) if user else (_NO_AUTHENTICATION,))
        self._send(bytes((_SOCKS, len(methods))) + methods)
        version, method = self._read(2)
        if version == _SOCKS and method == _NO_METHOD:
            raise self._failed("it wants other credentials")
        if version != _SOCKS or method not in methods:
            raise self._failed("it does not speak SOCKS5")
        if method == _PASSWORD:
            self._send(b"\x01%c%b%c%b" % (len(user), user, len(password), password))
            if self._read(2)[1] != _SUCCEEDED:
                raise self._failed("it rejects our credentials")

    def _open_by_socks(self, host: str, port: int) -> None:
        if is_literal(host):
            address = ip_address(host)
            target = bytes((_V6 if address.version == 6 else _V4,)) + address.packed
        else:
            target = bytes((_NAME, len(host))) + host.encode("ascii")
        self._send(bytes((_SOCKS, 1, 0)) + target + port.to_bytes(2, "big"))
        version, reply, _, kind = self._read(4)
        if version != _SOCKS:
            raise self._failed("it does not speak SOCKS5")
        if reply != _SUCCEEDED:
            raise Stopped(*socks_refusal(self._proxy.name, reply))
        lengths = {_V4: 4, _V6: 16}
        length = self._read(1)[0] if kind == _NAME else lengths.get(kind)
        if length is None:
            raise self._failed("its SOCKS5 reply is not valid")
        self._read(length + 2)  # the address and port that it connects from

    def _send(self, data: bytes) -> None:
        self._set_timeout()
        self._sock.sendall(data)

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            self._set_timeout()
            piece = self._sock.recv(size - len(data))
            if not piece:
                raise self._failed("it closed the connection")
            data += piece
        return data

    def _set_timeout(self) -> None:
        seconds = self._until - monotonic()
        if seconds <= 0:
            raise TimeoutError
        self._sock.settimeout(seconds)

    def _failed(self, why: str) -> Stopped:
        return Stopped(OutcomeKind.NOT_SENT, proxy_failure(self._proxy.name, why), OurFault.PROXY)
