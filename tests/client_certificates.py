"""Client certificates for tests, receivers that demand them, and an egress proxy to reach these through."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.receiver import Authority, Receiver
from webhooks_app.core.client_tls import ClientTLS
from webhooks_app.endpoints.client_tls import ClientTLSInput


def identity(clients: Authority, name: str, **certificate: Any) -> ClientTLS:
    chain, key = clients.client_pems(name, **certificate)
    return ClientTLS(chain.encode(), key.encode())


def pems(clients: Authority, name: str, authority: Authority | None = None, **certificate: Any) -> ClientTLSInput:
    """A client certificate as a customer uploads it, with the authority to trust."""
    chain, key = clients.client_pems(name, **certificate)
    parts: ClientTLSInput = {"certificate": chain, "private_key": key}
    if authority is not None:
        parts["authorities"] = authority.pem
    return parts


def trusting(authority: Authority) -> ClientTLS:
    return ClientTLS(authorities=authority.pem.encode())


@contextmanager
def demanding(
    authority: Authority, clients: Authority, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, **options: Any
) -> Iterator[Receiver]:
    with Receiver(tls=clients.demanding(authority.context("localhost", **options), version)) as receiver:
        yield receiver


@contextmanager
def judging(context: ssl.SSLContext) -> Iterator[str]:
    """The URL of a server that sends OpenSSL's alerts about client certificates, which asyncio's servers do not."""

    def judge(client: socket.socket) -> None:
        with context.wrap_socket(client, server_side=True) as connection:
            connection.recv(65536)

    with _listening(judge) as port:
        yield f"https://localhost:{port}/"


@contextmanager
def tunnel() -> Iterator[int]:
    """The port of an egress proxy that connects to wherever it is asked to."""

    def carry(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def serve(client: socket.socket) -> None:
        host, _, port = client.recv(65536).decode().split(" ")[1].partition(":")
        with socket.create_connection((host, int(port))) as server:
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=carry, args=(server, client), daemon=True)
            back.start()
            carry(client, server)
            back.join(5)

    with _listening(serve) as port:
        yield port


@contextmanager
def _listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Serve each connection in a thread; the port is on loopback."""
    opened: list[socket.socket] = []

    def work(client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            serve(client)
        client.close()

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                opened.append(client)
                threading.Thread(target=work, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        for one in opened:
            one.close()
