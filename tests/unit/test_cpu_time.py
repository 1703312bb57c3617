"""What a thread has cost, without the garbage that it collected for others."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from webhooks_app.cpu_time import seconds_of_thread, thread_seconds


@pytest.fixture
def many_objects() -> Iterator[list[Any]]:
    """Garbage collections take time; only ours run."""
    many = [[number] for number in range(300_000)]
    gc.disable()
    yield many
    gc.enable()


@pytest.mark.usefixtures("many_objects")
def test_work_counts_and_collecting_garbage_does_not() -> None:
    before, before_all = thread_seconds(), time.thread_time()
    for _ in range(5):
        gc.collect()
    collected = time.thread_time() - before_all
    assert thread_seconds() - before < collected / 2

    before, before_all = thread_seconds(), time.thread_time()
    sum(range(3_000_000))
    assert thread_seconds() - before > (time.thread_time() - before_all) / 2


@pytest.mark.skipif(not hasattr(time, "pthread_getcpuclockid"), reason="the system does not report it")
@pytest.mark.usefixtures("many_objects")
@pytest.mark.processes
def test_what_another_thread_collects_does_not_count_from_its_first_moment_on() -> None:
    """Python may switch threads as soon as a collection has ended, before it calls the callbacks."""
    begin, over = threading.Event(), threading.Event()
    gc.collect()  # the first one takes longer
    began = time.thread_time()
    gc.collect()
    one_collection = time.thread_time() - began

    def collect() -> None:
        begin.wait(10)
        while not over.is_set():
            gc.collect()

    thread = threading.Thread(target=collect)
    thread.start()
    assert thread.ident is not None
    before, most = seconds_of_thread(thread.ident), 0.0
    begin.set()
    for _ in range(20):
        time.sleep(0.001)
        most = max(most, seconds_of_thread(thread.ident) - before)
    over.set()
    thread.join()
    assert most < one_collection / 4
