"""Certificates that keep OpenSSL busy for seconds within one call."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from collections.abc import Iterator

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


def _sized(size: int, *parts: bytes) -> bytes:
    """Return the parts after their length in so many bytes."""
    data = b"".join(parts)
    return len(data).to_bytes(size, "big") + data


@contextlib.contextmanager
def serve_slow_certificates(number: int, together: int = 1) -> Iterator[str]:
    """The URL of a server that shows so many such certificates; the client is busy for about a fifth of that in seconds.

    `together`: it begins when there are so many connections, with all of them at once."""
    hello = b"\x02" + _sized(3, b"\x03\x03", bytes(32), b"\0\xc0\x2f\0", _sized(2, b"\xff\x01\0\x01\0"))
    shown = b"\x0b" + _sized(3, _sized(3, *[_sized(3, SLOW_CERTIFICATE)] * number))
    pieces = [hello, *(shown[start : start + 16_000] for start in range(0, len(shown), 16_000))]
    answer = b"".join(b"\x16\x03\x03" + _sized(2, piece) for piece in pieces)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connection.recv(65536)
                opened.append(connection)
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
