"""Both pollers say which sockets are ready, and for what."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator

import pytest

from webhooks_app.transport.poller import READ, WRITE, EpollPoller, SelectorPoller

POLLERS = [SelectorPoller, *([EpollPoller] if hasattr(select, "epoll") else [])]


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
        with near, far:
            yield near, far


@pytest.fixture(params=POLLERS)
def poller(request: pytest.FixtureRequest) -> Iterator[EpollPoller | SelectorPoller]:
    made = request.param()
    yield made
    made.close()


def test_a_socket_is_ready_for_what_it_is_watched_for(
    poller: EpollPoller | SelectorPoller, pair: tuple[socket.socket, socket.socket]
) -> None:
    near, far = pair
    poller.register(near.fileno(), READ)
    assert poller.poll(0) == []
    far.send(b"x")
    assert poller.poll(5) == [(near.fileno(), READ)]
    poller.modify(near.fileno(), READ | WRITE)
    assert poller.poll(5) == [(near.fileno(), READ | WRITE)]
    poller.modify(near.fileno(), WRITE)
    assert poller.poll(5) == [(near.fileno(), WRITE)]
    poller.unregister(near.fileno())
    assert poller.poll(0) == []


def test_a_connection_that_ends_is_ready(
    poller: EpollPoller | SelectorPoller, pair: tuple[socket.socket, socket.socket]
) -> None:
    near, far = pair
    poller.register(near.fileno(), READ)
    far.close()
    [(fd, events)] = poller.poll(5)
    assert (fd, events & READ) == (near.fileno(), READ)


def test_a_closed_socket_can_be_taken_out(
    poller: EpollPoller | SelectorPoller, pair: tuple[socket.socket, socket.socket]
) -> None:
    fd = pair[0].fileno()
    poller.register(fd, READ)
    pair[0].close()
    poller.unregister(fd)
    assert poller.poll(0) == []
