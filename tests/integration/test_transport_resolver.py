"""The resolver's threads are shared between owners: hundreds of hanging names delay only the names of their owner."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests import transports
from tests.receiver import Receiver
from tests.transports import Open, gather
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport import Request
from webhooks_app.transport.resolver import MAX_THREADS, OWNER_SHARE, Resolver

transport_name = transports.transport_name
open_one = transports.open_one
shared_receiver = transports.shared_receiver
receiver = transports.receiver

SHARE = MAX_THREADS // OWNER_SHARE


class SlowNames:
    """Stands in for the host's DNS: names that begin with "hang" have no answer until the test is over."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.asked: list[str] = []
        self._changed = threading.Condition()

    def getaddrinfo(self, host: Any, *_: object, **__: object) -> list[Any]:
        with self._changed:
            self.asked.append(host)
            self._changed.notify_all()
        if host.startswith("hang"):
            self.over.wait(60)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    def wait_for(self, number: int) -> None:
        """Wait until so many names were asked for."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.asked) >= number, 20), (
                f"{len(self.asked)} names were asked for"
            )


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowNames]:
    names = SlowNames()
    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    yield names
    names.over.set()


@pytest.fixture
def resolver(names: SlowNames) -> Iterator[Resolver]:
    resolver = Resolver(max_threads=8)  # two for each owner
    yield resolver
    resolver.close()


def named(host: str, token: object, owner: object, port: int = 80, connect: float = 5.0) -> Request:
    return Request(token, f"http://{host}:{port}/", (), b"{}", connect, 20.0, owner)


def test_seven_hundred_hanging_names_do_not_delay_another_owner(
    open_one: Open, receiver: Receiver, names: SlowNames, transport_name: str
) -> None:
    if transport_name == "requests":
        pytest.skip("a hanging name holds one of its threads: there the engine's window is what is shared")
    transport = open_one(concurrency=1000)
    for number in range(700):
        transport.start(named(f"hang{number}.example.com", number, "noisy", connect=3.0))
    for number in range(20):
        transport.start(named(f"good{number}.example.com", f"good{number}", "quiet", receiver.port))
    responses = {one.token: one for one in gather(transport, 720, seconds=60.0)}
    good = [responses.pop(f"good{number}") for number in range(20)]
    assert [one.status for one in good] == [200] * 20
    assert len([host for host in names.asked if host.startswith("hang")]) == SHARE
    # What was asked for and hangs timed out; what never began is our own fault.
    timed_out = [one for one in responses.values() if one.failure is OutcomeKind.TIMEOUT]
    not_begun = [one for one in responses.values() if one.failure is OutcomeKind.NOT_SENT]
    assert (len(timed_out), len(not_begun)) == (SHARE, 700 - SHARE)
    assert {one.our_fault for one in timed_out} == {""}
    assert {one.our_fault for one in not_begun} == {"resolver"}
    assert transport.in_flight == 0
    assert max(one.duration for one in good) < min(one.duration for one in timed_out)


def test_names_that_hang_time_out_and_those_behind_them_are_not_sent(open_one: Open, names: SlowNames) -> None:
    transport = open_one(concurrency=40)  # so the resolver has forty threads, ten for each owner
    for number in range(20):
        transport.start(named(f"hang{number}.example.com", number, "noisy", connect=0.8))
    responses = gather(transport, 20)
    kinds = [(one.failure, one.our_fault) for one in responses]
    assert kinds.count((OutcomeKind.TIMEOUT, "")) == 10
    assert kinds.count((OutcomeKind.NOT_SENT, "resolver")) == 10


def test_an_owner_gets_a_share_and_the_others_the_rest(names: SlowNames, resolver: Resolver) -> None:
    for number in range(5):
        assert resolver.lookup(f"hang-a{number}", "a") is None
    names.wait_for(2)
    assert resolver.lookup("hang-b0", "b") is None
    names.wait_for(3)
    assert sorted(names.asked) == ["hang-a0", "hang-a1", "hang-b0"]
    assert [resolver.has_started(f"hang-a{number}") for number in range(5)] == [True, True, False, False, False]
    names.over.set()
    names.wait_for(6)
    for number in range(5):
        assert resolver.resolve(f"hang-a{number}", 10.0, "a").addresses == ("127.0.0.1",)


def test_names_without_an_owner_may_use_all_threads(names: SlowNames, resolver: Resolver) -> None:
    for number in range(20):
        resolver.lookup(f"hang{number}")
    names.wait_for(8)
    time.sleep(0.05)
    assert len(names.asked) == 8


def test_owners_take_turns(names: SlowNames) -> None:
    resolver = Resolver(max_threads=1)
    for host in ("hang-a0", "a1", "a2", "b0", "c0", "b1"):
        resolver.lookup(host, host.removeprefix("hang-")[0])
        names.wait_for(1)
    names.over.set()
    names.wait_for(6)
    assert names.asked == ["hang-a0", "a1", "b0", "c0", "a2", "b1"]
    resolver.close()


def test_a_name_that_waits_behind_another_owner_s_names_is_looked_up_at_once(
    names: SlowNames, resolver: Resolver
) -> None:
    for number in range(4):
        resolver.lookup(f"hang-a{number}", "a")
    resolver.lookup("good", "a")
    names.wait_for(2)
    assert not resolver.has_started("good")
    assert resolver.resolve("good", 10.0, "b").addresses == ("127.0.0.1",)


def test_a_name_that_nobody_waits_for_any_more_is_forgotten(names: SlowNames, resolver: Resolver) -> None:
    for number in range(4):
        resolver.lookup(f"hang{number}", "a")
    names.wait_for(2)
    resolver.give_up("hang2")
    resolver.give_up("hang0")  # it has begun: its answer may still be of use
    assert not resolver.has_started("hang3")
    names.over.set()
    names.wait_for(3)
    assert resolver.resolve("hang3", 10.0, "a").addresses
    assert sorted(names.asked) == ["hang0", "hang1", "hang3"]
    assert resolver.resolve("hang2", 10.0, "a").addresses  # asked for anew


def test_no_thread_is_kept_without_work(names: SlowNames, resolver: Resolver) -> None:
    before = threading.active_count()
    for number in range(50):
        resolver.lookup(f"good{number}", number % 3)
    for number in range(50):
        assert resolver.resolve(f"good{number}", 10.0, number % 3).addresses
    until = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < until:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_only_the_first_addresses_of_a_name_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner of a name may give it thousands, and each is checked for each request."""
    answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"203.0.{n // 256}.{n % 256}", 0)) for n in range(4000)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
    resolver = Resolver()
    try:
        addresses = resolver.resolve("many.example", 5.0).addresses
    finally:
        resolver.close()
    assert addresses == tuple(f"203.0.0.{n}" for n in range(32))
