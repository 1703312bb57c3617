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
        requests.charge(0.2, -1, {}, None)
    assert requests.take_costly() == {"evil"}
    assert requests.take_costly() == set()


def test_everything_without_a_response_of_an_owner_over_the_budget_is_ended() -> None:
    culprit, sibling = Running("evil", reads=500), Running("evil")
    answered, other = Running("evil", waits=False), Running("other")
    requests = of(culprit, sibling, answered, other)
    requests.charge(0.6, -1, {}, None)
    assert requests.take_to_end() == [(culprit, costs.BUSY), (sibling, costs.NEIGHBOUR_BUSY)]
    assert requests.take_to_end() == []


def test_an_owner_whose_handshake_was_read_at_the_same_time_pays_nothing() -> None:
    evil, good = Running("evil", reads=97_000, fd=1000), Running("good", reads=3000, fd=1001)
    requests = of(evil, good)
    for called in (1000, 1001, -1) * 10:
        requests.charge(0.2, called, {}, {1000: "evil", 1001: "good"}.get(called))
        assert requests.take_costly() <= {"evil"}
    assert not good.kept_busy
    assert requests.suspects(1000) == ({"evil": 1.0}, [evil])


def test_an_owner_that_others_shield_pays_after_several_calls() -> None:
    """At each of its costly calls, as much was read for others, now for this one and now for that."""
    evil = Running("evil", reads=800, fd=1000)
    shields = [Running(f"shield {number}", reads=16_000, fd=1001 + number) for number in range(3)]
    busy = Running("busy", reads=900, fd=1010)
    running: dict[int, Running] = {0: evil, 2: busy}
    requests, costly = costs.CostlyRequests(running), set()
    for number in range(40):
        running[1] = shields[number % 3]
        requests.forget_reads({"evil": 3, shields[number % 3].owner: 3, "busy": 100})
        called, owner = (1010, "busy") if number % 5 == 4 else (1000, "evil")
        requests.charge(0.13, called, {}, owner)  # it is handled in a call for another one, too
        costly |= requests.take_costly()
        assert costly == (set() if number < 10 else costly & {"evil"})
    assert costly == {"evil"}
    assert not busy.kept_busy


def test_an_owner_with_nearly_all_of_the_traffic_pays_for_no_uncertain_calls() -> None:
    busy, other = Running("busy", reads=900, fd=1000), Running("other", reads=14_000, fd=1001)
    requests = of(busy, other)
    for number in range(2000):
        requests.forget_reads({"busy": 95, "other": 5})
        called, owner = (1001, "other") if number % 20 == 19 else (1000, "busy")
        requests.charge(0.1, called, {}, owner)
    assert "busy" not in requests.take_costly()
    assert sum(requests._calls.values()) < 200_000, "old calls count less and less"


def test_owners_of_one_connection_share_its_cost() -> None:
    requests = of(Running("one", reads=5000, fd=1000), Running("two", reads=5000, fd=1000))
    requests.charge(0.8, 1000, {}, "one")
    assert requests.take_costly() == set()
    requests.charge(0.4, 1000, {}, "one")
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
