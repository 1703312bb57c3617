"""A TLS server that sends a session ticket after a response, or a response that nobody asked for."""

from __future__ import annotations

import _ssl
import contextlib
import ctypes
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator

import pytest

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\ngenuine"


def send_ticket(connection: ssl.SSLSocket) -> None:
    """Send one more session ticket, for which Python's `ssl` has no method."""
    library = ctypes.CDLL(_ssl.__file__)
    if not hasattr(library, "SSL_new_session_ticket"):
        pytest.skip("needs OpenSSL 3 as a shared library")
    library.SSL_new_session_ticket.argtypes = [ctypes.c_void_p]
    # The third field of CPython's object, after its head of two words and the Python socket.
    inside = id(connection._sslobj) + 3 * ctypes.sizeof(ctypes.c_void_p)  # type: ignore[attr-defined]
    assert library.SSL_new_session_ticket(ctypes.c_void_p.from_address(inside)) == 1
    connection.do_handshake()


@contextlib.contextmanager
def serve(
    context: ssl.SSLContext, after: Callable[[ssl.SSLSocket], None], delay: float = 0.0
) -> Iterator[tuple[str, list[int]]]:
    """Answer each request with `OK` after `delay` seconds, and call `after` once it was sent.

    Yields the URL, and how many requests each connection brought.
    """
    counts: list[int] = []

    def converse(connection: socket.socket) -> None:
        number = len(counts)
        counts.append(0)
        with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as tls:
            while request := tls.recv(65536):
                if not request.endswith(b"{}"):
                    continue  # the body comes in a record of its own
                counts[number] += 1
                time.sleep(delay)
                tls.sendall(OK)
                after(tls)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=converse, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"https://localhost:{listener.getsockname()[1]}/", counts
        listener.shutdown(socket.SHUT_RDWR)
        time.sleep(0.01)
