"""What host applications do around us: manual transactions, Celery's time limits, long snapshots, tasks of their own."""

from __future__ import annotations

import time
from pathlib import Path

from tests.faults.harness.stage import Stage


def test_the_hosts_tasks_run_beside_delivery(stage: Stage) -> None:
    """One worker with two slots for both queues, under a trickle of events that never ends."""
    stage.healthy()
    stage.celery(concurrency=2, queues="celery,webhooks")
    stage.beat()
    done = Path(stage.environment["FAULTS_HOST_TASKS"])
    done.touch()
    with stage.traffic():
        time.sleep(4.0)  # by now as many engines run as will
        asked = stage.host.call("send_tasks", 3)
        time.sleep(12.0)
    times = [float(line.split()[0]) for line in done.read_text().splitlines()]
    stage.demand(len(times) == 3, f"{len(times)} of 3 tasks of the host ran in 15 s")
    stage.demand(all(at - asked < 10.0 for at in times), "a task of the host waited for more than 10 s")
    stage.judge()


def test_celerys_time_limits_end_an_engine_gracefully(stage: Stage) -> None:
    """The host's worker ends every task after five seconds, and kills it after ten."""
    stage.healthy()
    stage.celery(options=["--soft-time-limit=5", "--time-limit=10"])
    stage.beat()
    with stage.traffic():
        time.sleep(18.0)
    killed = stage.workers[0].said.count("Hard time limit")
    stage.demand(not killed, f"{killed} engines were killed at the hard limit")
    stage.judge()


def test_events_in_transactions_by_hand(stage: Stage) -> None:
    """`set_autocommit(False)`: a commit sends, a rollback does not, and emit raises nothing."""
    stage.healthy()
    stage.celery()
    stage.beat()
    with stage.traffic():
        stage.host.call("emit_by_hand", "healthy-0", 20)
    stage.judge(stall=10.0 + 2.0)  # no hint can be sent at such a commit, so that beat's sweep finds them


def test_a_snapshot_is_held_open_while_thousands_of_events_come(stage: Stage) -> None:
    """What pg_dump does: no dead row can be removed meanwhile."""
    stage.healthy()
    stage.customer("bulk", 2, "bulk")
    stage.command()
    with stage.traffic(), stage.database.admin() as admin, admin.transaction():
        admin.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        admin.execute("SELECT count(*) FROM webhooks_app_event")
        stage.host.call("emit", "bulk", 2000)
        time.sleep(5.0)
    stage.judge()


def test_rows_are_pruned_under_load(stage: Stage) -> None:
    stage.healthy()
    stage.celery()
    stage.beat()
    with stage.traffic():
        for _ in range(10):
            stage.host.call("run_on_celery", "webhooks_app.prune")
            stage.host.call("run_on_celery", "webhooks_app.repair")
            time.sleep(0.5)
    stage.judge()
