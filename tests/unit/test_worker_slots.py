"""How many delivery tasks one worker runs at once, counted across real processes."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from webhooks_app import worker_slots
from webhooks_app.worker_slots import WorkerSlots

# pytest-xdist has threads, and Python 3.12 warns of a fork beside them; these children touch nothing of theirs.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")

FORK = multiprocessing.get_context("fork")
PATIENCE = 20.0


@pytest.fixture
def worker() -> Iterator[Callable[..., WorkerSlots]]:
    """The slots of a worker: `worker(concurrency, shared=…)`."""
    with contextlib.ExitStack() as stack:
        yield lambda concurrency, *, shared: stack.enter_context(
            contextlib.closing(WorkerSlots(concurrency, shared=shared))
        )


@contextlib.contextmanager
def child_with_a_slot(slots: WorkerSlots) -> Iterator[Any]:
    """A forked process that has taken a slot, and keeps it until it is told to go on, or is killed."""
    here, there = FORK.Pipe()

    def work() -> None:
        slot = slots.take()
        there.send(None if slot is None else slot.number)
        there.recv()
        if slot is not None:
            slot.give_back()
        os._exit(0)

    process = FORK.Process(target=work)
    process.start()
    process.number = here.recv() if here.poll(PATIENCE) else "no answer"
    process.go_on = lambda: (here.send("go on"), process.join(PATIENCE))
    try:
        yield process
    finally:
        process.kill()
        process.join(PATIENCE)


def test_one_slot_is_kept_for_the_tasks_of_other_queues(worker):
    slots = worker(3, shared=True)
    with child_with_a_slot(slots) as first, child_with_a_slot(slots) as second, child_with_a_slot(slots) as third:
        assert (first.number, second.number, third.number) == (0, 1, None)
        first.go_on()
        with child_with_a_slot(slots) as fourth:
            assert fourth.number == 0


def test_a_child_that_is_killed_gives_its_slot_back(worker):
    slots = worker(2, shared=True)
    with child_with_a_slot(slots) as child:
        assert slots.take() is None
        os.kill(child.pid, signal.SIGKILL)
        child.join(PATIENCE)
        assert slots.take().number == 0


def test_threads_of_one_process_share_the_slots_too(worker):
    slots = worker(4, shared=True)
    taken = []
    threads = [threading.Thread(target=lambda: taken.append(slots.take())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(slot.number for slot in taken if slot is not None) == [0, 1, 2]


def test_a_slot_that_was_given_back_twice_is_not_taken_from_its_next_owner(worker):
    slots = worker(2, shared=True)
    first = slots.take()
    first.give_back()
    second = slots.take()
    assert second.number == first.number
    first.give_back()
    assert slots.take() is None


@pytest.mark.parametrize(("concurrency", "shared"), [(1, True), (1, False), (2, False)])
def test_the_last_slot_is_lent_and_then_stays_free_for_a_while(worker, monkeypatch, concurrency, shared):
    slots = worker(concurrency, shared=shared)
    first = [slots.take() for _ in range(concurrency - 1)]
    assert [slot.seconds for slot in first] == [math.inf] * len(first)
    last = slots.take()
    assert last.seconds == (worker_slots.LENT_SECONDS_SHARED if shared else worker_slots.LENT_SECONDS)
    monkeypatch.setattr(worker_slots, "PAUSE_SECONDS", 3600.0)
    last.give_back()
    assert slots.take() is None
    with child_with_a_slot(slots) as child:
        assert child.number is None, "the pause holds for all processes"
    for slot in first:
        slot.give_back()
    assert (slots.take() is not None) is (concurrency > 1), "and only for that slot"


def test_after_its_pause_the_last_slot_can_be_taken_again(worker, monkeypatch):
    monkeypatch.setattr(worker_slots, "PAUSE_SECONDS", 0.0)
    slots = worker(1, shared=True)
    slots.take().give_back()
    assert slots.take() is not None


def test_a_last_slot_that_was_hardly_used_can_be_taken_at_once(worker):
    slots = worker(1, shared=False)
    slots.take().give_back(pause=False)
    assert slots.take() is not None


def test_tasks_that_follow_one_another_in_the_last_slot_share_its_time(worker, monkeypatch):
    """Many hints lie in the queue before a host's task: each of their engines may run out of work, and the next one begin."""
    slots = worker(1, shared=True)
    first = slots.take()
    assert first.seconds == worker_slots.LENT_SECONDS_SHARED
    time.sleep(0.02)
    assert first.give_back(pause=False) is False
    second = slots.take()
    assert second.seconds < worker_slots.LENT_SECONDS_SHARED
    monkeypatch.setattr(worker_slots, "LENT_SECONDS_SHARED", worker_slots.SHORTEST_SECONDS)
    assert second.give_back(pause=False) is True
    assert slots.take() is None


def test_a_last_slot_that_nobody_wanted_for_a_while_is_lent_for_its_whole_time(worker, monkeypatch):
    slots = worker(1, shared=True)
    slots.take().give_back(pause=False)
    slots._used.value = 3.0
    assert slots.lent_seconds() == worker_slots.LENT_SECONDS_SHARED - 3.0
    slots._freed_at.value -= worker_slots.PAUSE_SECONDS
    assert slots.take().seconds == worker_slots.LENT_SECONDS_SHARED
