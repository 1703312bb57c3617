"""Whose receivers keep libcurl busy: what was read from whose connections, and what is ended."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

import pytest

costs = pytest.importorskip("webhooks_app.transport.curl_costs", exc_type=ImportError)


class Running:
    """What is asked of a handle."""

    def __init__(self, owner: str, *, reads: int = 0, fd: int = -1, waits: bool = True) -> None:
        self.owner = owner
        self.reads = {fd: reads} if reads else {}
        self.connection = costs.OpenSocket.of(fd)
        self.kept_busy = False
        self.waits_for_tls = waits

    def tls_read(self, removed: Mapping[int, object]) -> dict[int, int]:
        return self.reads

    def forget_reads(self) -> None:
        """As if nothing had been read."""


def of(*handles: Running) -> Any:
    return costs.CostlyRequests(dict(enumerate(handles)))


def test_only_those_that_have_read_pay() -> None:
    requests = of(Running("evil", reads=500), Running("waits"))
    for _ in range(3):
        requests.charge(0.2, -1, {})
    assert requests.take_costly() == {"evil"}
    assert requests.take_costly() == set()


def test_everything_without_a_response_of_an_owner_over_the_budget_is_ended() -> None:
    culprit, sibling = Running("evil", reads=500), Running("evil")
    answered, other = Running("evil", waits=False), Running("other")
    requests = of(culprit, sibling, answered, other)
    requests.charge(0.6, -1, {})
    assert requests.take_to_end() == [(culprit, costs.BUSY), (sibling, costs.NEIGHBOUR_BUSY)]
    assert requests.take_to_end() == []


def test_an_owner_whose_handshake_was_read_at_the_same_time_pays_nothing() -> None:
    evil, good = Running("evil", reads=97_000, fd=1000), Running("good", reads=3000, fd=1001)
    requests = of(evil, good)
    for called in (1000, 1001, -1) * 10:
        requests.charge(0.2, called, {})
        assert requests.take_costly() <= {"evil"}
    assert not good.kept_busy
    assert requests.suspects(1000) == ({"evil": 1.0}, [evil])


def test_owners_of_one_connection_share_its_cost() -> None:
    requests = of(Running("one", reads=5000, fd=1000), Running("two", reads=5000, fd=1000))
    requests.charge(0.8, 1000, {})
    assert requests.take_costly() == set()
    requests.charge(0.4, 1000, {})
    assert requests.take_costly() == {"one", "two"}


def test_a_kept_connection_that_was_read_from_is_suspected() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        requests = of()
        requests.end(Running("evil", fd=client.fileno()))
        assert requests.suspects(-1) == ({}, [])
        server.sendall(b"x" * 100)
        assert requests.suspects(-1) == ({}, []), "it is in the system's buffer"
        assert client.recv(100)
        if costs.bytes_read(client.fileno()):  # only Linux tells
            assert requests.suspects(-1) == ({"evil": 1.0}, [])
        assert requests.suspects(-1) == ({}, []), "nothing was read since"
        client.close()
        server.close()
