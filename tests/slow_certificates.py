"""Certificates that keep OpenSSL busy for seconds within one call, and TLS handshakes that take long and cost nothing."""

from __future__ import annotations

import base64
import contextlib
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterator

#: A certificate whose key has a curve of its own and points that are compressed: OpenSSL takes 0.2 s to read it, before it
#: looks at any signature.
SLOW_CERTIFICATE = base64.b64decode(
    "MIIB6zCCAdACAQEwCgYIKoZIzj0EAwIwDDEKMAgGA1UEAwwBeDAeFw0yMDAxMDEwMDAwMDBaFw00MDAxMDEwMDAwMDBaMAwxCjAIBgNVBAMMAXgw"
    "ggGBMIIBJgYHKoZIzj0CATCCARkCAQEwXgYHKoZIzj0BAQJTEAAAhMAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEwBgQBAwQBBwRUAgdjQlh/0oA7q2w5jYg0in7tjRTwbT/vcBlmoMOB6I84wMj9hxK4"
    "vAdvN4e50XngbA/U9fgTDEI3cw7fr71n+WGWmc/hmIrZ8GwUSgJbQT+KmgIeAlMQAACEv///////////////////////////////////////////"
    "/////////////////////////////////////////////////////////////wIBAQNVAAIIE1GQn/SXaopD7yiAR5C+bG/pTEHZwPB1NP7qzBEO"
    "T3P9lBOR+bnbx5mwEhsoAE5vWpQMJQoD4CMDPTZOQz/3yIL0ICzIKExxcJW8yZroDwyKiTAKBggqhkjOPQQDAgMJADAGAgEBAgEB"
)


def sized(size: int, *parts: bytes) -> bytes:
    """Return the parts after their length in so many bytes."""
    data = b"".join(parts)
    return len(data).to_bytes(size, "big") + data


#: For certificates with an ECDSA key, and for others.
_ECDSA, _RSA = b"\xc0\x2b", b"\xc0\x2f"


def _hello(cipher: bytes) -> bytes:
    return b"\x02" + sized(3, b"\x03\x03", bytes(32), b"\0", cipher, b"\0", sized(2, b"\xff\x01\0\x01\0"))


@contextlib.contextmanager
def serve_unfinished_handshakes() -> Iterator[str]:
    """The URL of a server that sends the first 16 kB of certificates of 90 kB, and then nothing more."""
    begun = b"\x0b" + (90_000).to_bytes(3, "big") + bytes(16_000)
    answer = b"".join(b"\x16\x03\x03" + sized(2, piece) for piece in (_hello(_RSA), begun))

    class Unfinished(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                self.request.recv(65536)
                self.request.sendall(answer)
                self.request.recv(65536)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Unfinished) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"https://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


@contextlib.contextmanager
def serve_slow_certificates(number: int, together: int = 1, leaf: bytes = b"") -> Iterator[str]:
    """The URL of a server that shows so many such certificates; the client is busy for about a fifth of that in seconds.

    `together`: it begins when there are so many connections, with all of them at once. `leaf`: a valid certificate (DER) with an
    ECDSA key, with which the handshake does not end at once.
    """
    shown = b"\x0b" + sized(3, sized(3, *[sized(3, leaf)] * bool(leaf), *[sized(3, SLOW_CERTIFICATE)] * number))
    pieces = [
        _hello(_ECDSA if leaf else _RSA),
        *(shown[start : start + 16_000] for start in range(0, len(shown), 16_000)),
    ]
    answer = b"".join(b"\x16\x03\x03" + sized(2, piece) for piece in pieces)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                opened.append(connection)
                with contextlib.suppress(OSError):  # the client has ended it
                    connection.recv(65536)
                    if len(opened) >= together:
                        for one in opened[-together:]:
                            one.sendall(answer)

    opened: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}/"
        listener.shutdown(socket.SHUT_RDWR)
        for connection in opened:
            connection.close()


@contextlib.contextmanager
def serve_slow_handshakes(context: ssl.SSLContext, seconds: float) -> Iterator[str]:
    """The URL of a server that responds with 204, and sends the last byte of its certificates so many seconds later."""

    class Slow(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            received, to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = context.wrap_bio(received, to_send, server_side=True)
            for step in (tls.do_handshake, tls.read):
                while not self._done(step):
                    if flight := to_send.read():
                        self.request.sendall(flight[:-1])
                        time.sleep(seconds)
                        self.request.sendall(flight[-1:])
                    received.write(self.request.recv(65536))
            tls.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            self.request.sendall(to_send.read())

        @staticmethod
        def _done(step: Callable[[], object]) -> bool:
            with contextlib.suppress(ssl.SSLWantReadError):
                step()
                return True
            return False

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Slow) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
