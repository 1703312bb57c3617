"""Kept connections are told apart by both ends: two to different servers may have the same local port."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

pytest.importorskip("pycurl")

from webhooks_app.transport.curl_reuse import OpenConnections, Reuse
from webhooks_app.transport.socket_bytes import ends_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is unread")
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pairs() -> Iterator[list[Pair]]:
    """Two connections from one local port, each with the server's end."""
    with ExitStack() as stack:
        port, found = 0, []
        for _ in range(2):
            server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            near = stack.enter_context(socket.socket())
            near.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            near.bind(("127.0.0.1", port))
            near.connect(server.getsockname())
            port = near.getsockname()[1]
            found.append((near, stack.enter_context(server.accept()[0])))
        yield found


def test_what_one_connection_has_received_does_not_count_for_the_other(pairs: list[Pair]) -> None:
    connections = OpenConnections()
    (first, sender), (second, _) = pairs
    assert ends_of(first)[:2] == ends_of(second)[:2]
    for near, _ in pairs:
        assert Reuse(connections).begin(ends_of(near), [near.fileno()], tls=False)
    sender.sendall(b"HTTP/1.1 200 FORGED\r\n\r\n")
    first.recv(1, socket.MSG_PEEK)  # it has arrived
    assert not Reuse(connections).begin(ends_of(first), [], tls=False)
    assert Reuse(connections).begin(ends_of(second), [], tls=False)


def test_tls_where_the_system_does_not_count_what_is_read(pairs: list[Pair], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webhooks_app.transport.curl_reuse.bytes_read", lambda _: 0)
    connections = OpenConnections()
    near, sender = pairs[0]
    assert Reuse(connections).begin(ends_of(near), [near.fileno()], tls=True)
    reuse = Reuse(connections)
    assert reuse.begin(ends_of(near), [], tls=True)
    assert not reuse.refuses("1.1"), "nothing was unread"
    sender.sendall(b"x")
    near.recv(1, socket.MSG_PEEK)
    assert not Reuse(connections).begin(ends_of(near), [], tls=True)
