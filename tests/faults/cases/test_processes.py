"""Workers die, stop, freeze and are replaced."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from tests.faults.harness.processes import Process
from tests.faults.harness.stage import Stage

#: What Docker, Kubernetes and others leave a process at least, with a margin (seconds).
SHUTDOWN = 8.0
#: A dead engine's endpoints are served again by then (seconds), at the defaults.
TAKEN_OVER = 10.0


def command(stage: Stage) -> None:
    stage.command()


def celery(stage: Stage) -> None:
    stage.celery()
    stage.beat()


def both(stage: Stage) -> None:
    stage.command()
    stage.command()


KINDS = pytest.mark.parametrize("kind", [command, celery], ids=["command", "celery"])


def start_anew(stage: Stage, kind: Callable[[Stage], None]) -> Process:
    return stage.command() if kind is command else stage.celery()


def test_every_engine_is_killed_and_celery_replaces_them(stage: Stage) -> None:
    stage.healthy()
    celery(stage)
    with stage.traffic(after=8.0):
        time.sleep(2.0)
        for pid in stage.engine_pids():
            os.kill(pid, signal.SIGKILL)
        stage.allow_in_flight()
        time.sleep(TAKEN_OVER)
    stage.judge(stall=TAKEN_OVER)


@KINDS
def test_every_worker_is_killed_and_started_anew(stage: Stage, kind: Callable[[Stage], None]) -> None:
    stage.healthy()
    stage.customer("slow", 4, "slow", does="slow 0.5")
    kind(stage)
    with stage.traffic(after=4.0):
        stage.host.call("emit", "slow", 20)
        stage.wait_for_arrivals("slow", 8)
        stage.kill(stage.workers[0])
        successor = start_anew(stage, kind)
        time.sleep(TAKEN_OVER)
    stage.judge(stall=TAKEN_OVER + successor.took)


def test_one_of_two_commands_is_killed(stage: Stage) -> None:
    stage.healthy()
    both(stage)
    with stage.traffic(after=4.0):
        time.sleep(3.0)
        stage.kill(stage.workers[0])
        time.sleep(TAKEN_OVER)
    stage.judge(stall=TAKEN_OVER)


def test_a_killed_celery_parent_takes_its_engines_with_it(stage: Stage) -> None:
    stage.healthy()
    celery(stage)
    with stage.traffic(after=4.0):
        time.sleep(2.0)
        stage.workers[0].process.kill()
        stage.allow_in_flight()
        successor = stage.celery()
        time.sleep(TAKEN_OVER)
    stage.judge(stall=TAKEN_OVER + successor.took)


@KINDS
def test_rolling_restarts(stage: Stage, kind: Callable[[Stage], None]) -> None:
    stage.healthy()
    kind(stage)
    longest = 0.0
    with stage.traffic():
        current = stage.workers[0]
        for _ in range(3):
            time.sleep(2.0)
            following = start_anew(stage, kind)
            time.sleep(2.0)
            longest = max(longest, current.terminate())
            current = following
    stage.row.note = f"(SIGTERM took {longest:.1f} s at most)"
    stage.judge()
    stage.demand(longest < SHUTDOWN, f"a worker took {longest:.1f} s to stop")


@KINDS
def test_sigterm_with_hanging_requests(stage: Stage, kind: Callable[[Stage], None]) -> None:
    """They would hang for 15 s. What was in flight is recorded, or safely repeated."""
    stage.healthy()
    stage.customer("hanging", 8, "hanging", does="hang", owed=False, wire_format="standard")
    kind(stage)
    with stage.traffic(after=6.0):
        stage.host.call("emit", "hanging", 5)
        stage.wait_for_arrivals("hanging", 8)
        stopping = stage.workers[0]
        start_anew(stage, kind)
        seconds = stopping.terminate()
    stage.row.note = f"(SIGTERM took {seconds:.1f} s)"
    stage.judge(stall=SHUTDOWN)
    stage.demand(seconds < SHUTDOWN, f"the worker took {seconds:.1f} s to stop")


@KINDS
def test_sigterm_then_sigquit(stage: Stage, kind: Callable[[Stage], None]) -> None:
    stage.healthy()
    stage.customer("slow", 4, "slow", does="slow 0.5")
    kind(stage)
    with stage.traffic(after=4.0):
        stage.host.call("emit", "slow", 20)
        stage.wait_for_arrivals("slow", 8)
        stage.workers[0].signal(signal.SIGTERM)
        time.sleep(0.2)
        stage.workers[0].signal(signal.SIGQUIT)
        stage.workers[0].terminate()
        stage.allow_in_flight()
        successor = start_anew(stage, kind)
        time.sleep(TAKEN_OVER)
    stage.judge(stall=TAKEN_OVER + successor.took)


def test_three_kills_give_up_nothing_that_is_slow_and_innocent(stage: Stage) -> None:
    """Two seconds for a response of 200, and an endpoint that hangs; neither has killed anybody."""
    stage.healthy(tenants=2)
    stage.customer("slow", 1, "slow", does="slow 2", wire_format="standard")
    stage.customer("hanging", 1, "hanging", does="hang", owed=False, wire_format="standard")
    worker = stage.command()
    for number in range(1, 4):
        stage.host.call("emit", "slow", 1)
        stage.host.call("emit", "hanging", 1)
        stage.wait_for_arrivals("slow", number)
        time.sleep(0.5)
        stage.kill(worker)
        worker = stage.command()
        time.sleep(7.0)
    stage.judge(stall=None, patience=90.0)
    given_up = stage.database.number("SELECT count(*) FROM webhooks_app_delivery WHERE status = 'exhausted'")
    stage.demand(given_up == 0, f"{given_up} innocent deliveries were given up")


@KINDS
def test_sigstop_past_the_lease_then_sigcont(stage: Stage, kind: Callable[[Stage], None]) -> None:
    """As a virtual machine that is moved does. Another worker takes over; the first one wakes and owns nothing."""
    stage.healthy()
    kind(stage)
    with stage.traffic(after=4.0):
        time.sleep(2.0)
        stage.workers[0].signal(signal.SIGSTOP)
        stage.allow_in_flight()
        successor = stage.command()
        time.sleep(14.0)
        stage.workers[0].signal(signal.SIGCONT)
        time.sleep(2.0)
    # What was in flight is recorded after all, by the worker that wakes: it came twice, and has two rows.
    stage.judge(stall=TAKEN_OVER + successor.took)


@KINDS
def test_a_payload_ends_the_process(stage: Stage, kind: Callable[[Stage], None]) -> None:
    """It is isolated after some crashes; everyone else's events flow."""
    stage.healthy()
    stage.customer("bomber", 1, "bomber", owed=False, wire_format="bomb")
    kind(stage)
    crashes: list[float] = []
    stopping = threading.Event()
    supervisor = threading.Thread(target=supervise, args=(stage, stopping, crashes), daemon=True)
    supervisor.start()
    with stage.traffic():
        stage.host.call("emit", "bomber", 1, {"bomb": "bomb"})
        isolated = "SELECT count(*) FROM webhooks_app_delivery WHERE last_outcome = 'quarantined'"
        stage.until(lambda: stage.database.number(isolated), "the delivery is isolated")
        before = crashed(stage, crashes)
        time.sleep(10.0)
        after = crashed(stage, crashes)
    stage.settle()
    stopping.set()
    supervisor.join()  # what it has started ends with it
    stage.row.note = f"({after} crashes)"
    stage.row.allowed = min(stage.unrecorded(), after * 8 * len(stage.targets))  # eight at once to each endpoint
    stage.judge(stall=2 * TAKEN_OVER + 2.0)  # before it is isolated, two engines in a row may have leased an endpoint
    stage.demand(after >= 1, "nothing crashed")
    stage.demand(after == before, f"it crashed {after - before} times more when it was isolated")


def supervise(stage: Stage, stopping: threading.Event, crashes: list[float]) -> None:
    """Start the command again when it ended, as systemd does. Celery's parent does so by itself."""
    while not stopping.wait(0.2):
        last: Process = stage.workers[-1]
        if last.name.startswith("command") and not last.alive:
            crashes.append(time.monotonic())
            stage.command(wait_until_it_runs=False)


def crashed(stage: Stage, crashes: list[float]) -> int:
    lost = sum(worker.said.count("WorkerLostError") for worker in stage.workers)
    return lost or len(crashes)
