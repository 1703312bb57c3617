"""Whose receivers keep libcurl busy: what is suspected, with which weight, and what is ended."""

from __future__ import annotations

import socket
from collections.abc import Collection
from typing import Any

import pytest

from webhooks_app.transport import Request

costs = pytest.importorskip("webhooks_app.transport.curl_costs", exc_type=ImportError)


class Running:
    """What is asked of a handle."""

    def __init__(self, owner: str, *, reads: bool, connection: int = -1, waits: bool = True) -> None:
        self.request = Request(None, "https://example.com/", (), b"", owner=owner)
        self.owner = owner
        self.reads = reads
        self.connection = costs.OpenSocket.of(connection)
        self.kept_busy = False
        self.waits_for_tls = waits

    def has_read_tls(self, watched: Collection[int], removed: Collection[int]) -> bool:
        return self.reads

    def forget_reads(self) -> None:
        """As if nothing had been read."""


def of(*handles: Running) -> Any:
    return costs.CostlyRequests(dict(enumerate(handles)))


def test_only_those_that_have_read_pay() -> None:
    requests = of(Running("evil", reads=True), Running("waits", reads=False))
    for _ in range(3):
        requests.charge(0.2, (), ())
    assert requests.take_costly() == {"evil"}
    assert requests.take_costly() == set()


def test_everything_without_a_response_of_an_owner_over_the_budget_is_ended() -> None:
    culprit, sibling = Running("evil", reads=True), Running("evil", reads=False)
    answered, other = Running("evil", reads=False, waits=False), Running("other", reads=False)
    requests = of(culprit, sibling, answered, other)
    requests.charge(0.6, (), ())
    assert requests.take_to_end() == [(culprit, costs.BUSY), (sibling, costs.NEIGHBOUR_BUSY)]
    assert requests.take_to_end() == []


def test_usual_suspects_weigh_little() -> None:
    busy, evil = Running("busy", reads=True), Running("evil", reads=False)
    requests = of(busy, evil)
    for _ in range(40):
        requests.look(())
    evil.reads = True
    weights = requests.weights([busy, evil])
    assert weights["busy"] < 0.1
    assert weights["evil"] == 1.0
    requests.charge(0.6, (), ())
    assert requests.take_costly() == {"evil"}
    busy.reads = False
    for _ in range(60):
        requests.look(())
    assert requests.weights([busy])["busy"] > 0.9, "it is forgotten"


def test_a_kept_connection_that_was_read_from_is_suspected() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        requests = of()
        requests.end(Running("evil", reads=False, connection=client.fileno()))
        assert requests.weights([]) == {}
        server.sendall(b"x" * 100)
        assert requests.weights([]) == {}, "it is in the system's buffer"
        assert client.recv(100)
        if costs.bytes_read(client.fileno()):  # only Linux tells
            assert list(requests.weights([])) == ["evil"]
        client.close()
        assert requests.weights([]) == {}
        server.close()
