"""What the guard of libcurl's calls cuts off: the connection that a call reads from without end, and no innocent one."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from webhooks_app.transport.curl_guard import CallGuard
from webhooks_app.transport.socket_bytes import ends_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how much was read")

Pair = tuple[socket.socket, socket.socket]


class Server:
    """Listens, and gives pairs of the two ends of a connection."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.pairs: list[Pair] = []

    def connect(self) -> Pair:
        near = socket.create_connection(self._listener.getsockname())
        far, _ = self._listener.accept()
        far.settimeout(10.0)
        self.pairs.append((near, far))
        return near, far

    def close(self) -> None:
        for one in (self._listener, *(end for pair in self.pairs for end in pair)):
            one.close()


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server]]:
    servers = Server(), Server()
    yield servers
    for server in servers:
        server.close()


def read_without_end(near: socket.socket, far: socket.socket) -> None:
    """Read what the other end sends as fast as it can, as OpenSSL does inside a call, until the connection is cut off."""

    def flood() -> None:
        with contextlib.suppress(OSError):
            while True:
                far.sendall(b"x" * 8192)

    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    until = time.monotonic() + 10.0
    with contextlib.suppress(OSError):
        while near.recv(4096):
            assert time.monotonic() < until, "it was not cut off"
    near.close()
    with contextlib.suppress(OSError):
        far.shutdown(socket.SHUT_RDWR)  # it may wait for room that nobody makes any more
    thread.join(10.0)


@pytest.mark.parametrize("direct", [True, False])
def test_a_call_that_reads_from_another_connection_than_its_own(servers: tuple[Server, Server], direct: bool) -> None:
    """libcurl handles whatever is due in each call, which was made for an innocent connection here."""
    hostile, other = servers
    flood, quiet = hostile.connect(), hostile.connect()
    innocent, receiver = other.connect()
    watched = {innocent.fileno(), flood[0].fileno(), quiet[0].fileno()}
    guard = CallGuard(watched, direct=direct)
    try:
        ends = [ends_of(near) for near in (flood[0], quiet[0], innocent)]
        guard.enter(innocent.fileno())
        read_without_end(*flood)
        # Its server would do the same on the next one; an egress proxy has everybody's connections.
        if direct:
            assert quiet[1].recv(1) == b""
        assert [guard.has_cut(connection) for connection in ends] == [True, False, False]
        guard.leave()
    finally:
        guard.close()
    innocent.sendall(b"still open")
    assert receiver.recv(100) == b"still open"
    if not direct:
        quiet[0].sendall(b"still open")
        assert quiet[1].recv(100) == b"still open"


def test_a_long_call_that_reads_nothing_cuts_nothing_off(servers: tuple[Server, Server]) -> None:
    near, far = servers[0].connect()
    guard = CallGuard({near.fileno()}, direct=True)
    try:
        guard.enter(near.fileno())
        time.sleep(0.5)
        guard.leave()
    finally:
        guard.close()
    near.sendall(b"still open")
    assert far.recv(100) == b"still open"
