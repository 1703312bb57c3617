"""Whose handshake of the `requests` transport may compute, and when."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future

import pytest

from tests.pipelines import eventually
from webhooks_app.transport.base import Request
from webhooks_app.transport.handshakes import HandshakeTurns
from webhooks_app.transport.requests_job import Job, Stopped

PATIENCE = 10.0


def job(owner: str) -> Job:
    return Job(Request(None, "https://example.com/", (), b"", owner=owner), time.monotonic() + PATIENCE)


class Waits:
    """Takes a turn on a thread of its own."""

    def __init__(self, turns: HandshakeTurns, owner: str, seconds: float = PATIENCE) -> None:
        self.job = job(owner)
        self.taken: Future[None] = Future()
        threading.Thread(target=self._take, args=(turns, time.monotonic() + seconds), daemon=True).start()
        eventually(lambda: self.taken.done() or self.job in turns._waiting)

    def _take(self, turns: HandshakeTurns, until: float) -> None:
        try:
            turns.take(self.job, until)
        except Stopped as error:
            self.taken.set_exception(error)
        else:
            self.taken.set_result(None)


def test_so_many_compute_at_once_and_half_as_many_of_one_owner() -> None:
    turns = HandshakeTurns(4)
    first, second = Waits(turns, "one"), Waits(turns, "one")
    third, other, another = Waits(turns, "one"), Waits(turns, "two"), Waits(turns, "three")
    last = Waits(turns, "four")
    assert [waits.taken.done() for waits in (first, second, third, other, another, last)] == [
        *(True, True, False),
        *(True, True, False),
    ]
    turns.end(other.job)
    last.taken.result(PATIENCE)
    assert not third.taken.done()
    turns.end(first.job)
    third.taken.result(PATIENCE)


def test_the_owner_that_has_taken_least_lately_goes_first() -> None:
    turns = HandshakeTurns(2)
    running = Waits(turns, "evil")
    turns.note("evil", 0.5)
    turns.note("worse", 0.9)
    also_running = Waits(turns, "other")
    waiting = [Waits(turns, owner) for owner in ("worse", "evil", "good")]
    turns.end(running.job)
    waiting[2].taken.result(PATIENCE)
    turns.end(also_running.job)
    waiting[1].taken.result(PATIENCE)
    assert not waiting[0].taken.done()
    turns.end(waiting[2].job)
    waiting[0].taken.result(PATIENCE)


def test_what_an_owner_has_taken_is_forgotten() -> None:
    turns = HandshakeTurns(2)
    turns.note("evil", 0.1)
    turns._halve_at = 0.0
    turns.note("good", 0.1)
    assert turns._taken == {"evil": 0.05, "good": 0.1}


def test_a_job_waits_no_longer_than_it_may() -> None:
    turns = HandshakeTurns(2)
    Waits(turns, "one")
    late = Waits(turns, "one", seconds=0.05)
    error = late.taken.exception(PATIENCE)
    assert isinstance(error, Stopped)
    assert (error.kind, error.our_fault) == ("not_sent", "capacity")
    assert late.job not in turns._waiting


@pytest.mark.parametrize("has_turn", [True, False])
def test_a_job_that_has_ended_takes_no_turn_from_others(has_turn: bool) -> None:
    turns = HandshakeTurns(2)
    running, waits = Waits(turns, "one"), Waits(turns, "one")
    if has_turn:
        turns.end(running.job)  # its thread may still compute
        waits.taken.result(PATIENCE)
        turns.end(running.job)
        assert not Waits(turns, "one", seconds=0.05).taken.done()
    else:
        turns.end(waits.job)
        assert isinstance(waits.taken.exception(PATIENCE), Stopped)
