"""The same promises on SQLite."""

from __future__ import annotations

import time

from tests.faults.harness.stage import Stage


def test_sqlite_kill_9(sqlite_stage: Stage) -> None:
    stage = sqlite_stage
    stage.healthy()
    stage.customer("slow", 4, "slow", does="slow 0.5")
    stage.command()
    with stage.traffic(after=4.0):
        for _ in range(2):
            stage.host.call("emit", "slow", 10)
            time.sleep(1.0)
            stage.kill(stage.workers[-1])
            stage.command()
            time.sleep(10.0)
    stage.judge(stall=10.0 + 2.0)
    stage.demand("database is locked" not in stage.story(), "a database was locked")


def test_sqlite_four_workers(sqlite_stage: Stage) -> None:
    stage = sqlite_stage
    stage.healthy()
    stage.command()
    stage.command()
    stage.celery()
    stage.beat()
    with stage.traffic(rate=30):
        time.sleep(8.0)
    stage.judge()
