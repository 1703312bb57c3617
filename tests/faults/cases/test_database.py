"""PostgreSQL refuses, hangs up, fills up or crashes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.faults.harness.servers import HOST, Postgres
from tests.faults.harness.stage import Stage

COPYING = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND query ILIKE 'COPY %%' AND wait_event_type = 'Lock'"
TERMINATE_ALL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND usename = 'app'"


@pytest.fixture
def flowing(stage: Stage) -> Stage:
    stage.healthy()
    stage.command()
    return stage


def set_for_all(stage: Stage, setting: str) -> None:
    """Change a setting of the server, for sessions that are open, too."""
    with stage.database.admin() as admin:
        admin.execute(f"ALTER SYSTEM {setting}")
        admin.execute("SELECT pg_reload_conf()")


@contextlib.contextmanager
def attempts_locked(stage: Stage) -> Iterator[None]:
    """Nothing can be recorded meanwhile: a COPY of attempts waits."""
    with stage.database.admin() as admin, admin.transaction():
        admin.execute("LOCK TABLE webhooks_app_attempt IN ACCESS EXCLUSIVE MODE")
        yield


def test_a_session_is_terminated_inside_copy(flowing: Stage) -> None:
    name, [worker] = flowing.database.name, flowing.workers
    with flowing.traffic(), flowing.database.admin() as admin:
        for _ in range(3):
            with attempts_locked(flowing):
                flowing.until(lambda: copying(admin, name) or not worker.alive, "a COPY waits")
                for pid in copying(admin, name):
                    admin.execute("SELECT pg_terminate_backend(%s)", (pid,))
            time.sleep(2.0)
    flowing.demand(worker.alive, "the command ended")
    flowing.judge()


def copying(admin: psycopg.Connection[Any], database: str) -> list[int]:
    return [row[0] for row in admin.execute(COPYING, (database,)).fetchall()]


def test_lock_timeout_inside_copy(stage: Stage) -> None:
    stage.database.rows(f"ALTER DATABASE {stage.database.name} SET lock_timeout = '200ms'")
    stage.healthy()
    stage.command()
    with stage.traffic():
        for _ in range(3):
            with attempts_locked(stage):
                time.sleep(1.2)
            time.sleep(1.0)
    stage.demand(stage.workers[0].alive, "the command ended")
    stage.judge()


@pytest.mark.parametrize("worker", ["command", "celery"])
def test_the_database_is_read_only_for_5_seconds(stage: Stage, worker: str) -> None:
    stage.healthy()
    stage.command() if worker == "command" else (stage.celery(), stage.beat())
    with stage.traffic(after=5.0):
        set_for_all(stage, "SET default_transaction_read_only = on")
        time.sleep(5.0)
        set_for_all(stage, "RESET default_transaction_read_only")
    stage.demand(all(one.alive for one in stage.workers), "a worker ended")
    stage.judge(stall=5.0 + 5.0, by_nature=True)


def test_a_read_only_database_that_flips_thirty_times(flowing: Stage) -> None:
    with flowing.traffic():
        for _ in range(30):
            set_for_all(flowing, "SET default_transaction_read_only = on")
            time.sleep(0.1)
            set_for_all(flowing, "RESET default_transaction_read_only")
            time.sleep(0.2)
    flowing.demand(flowing.workers[0].alive, "the command ended")
    flowing.judge(stall=5.0)


@pytest.mark.parametrize("worker", ["command", "celery"])
def test_all_sessions_are_terminated_ten_times(stage: Stage, worker: str) -> None:
    stage.healthy()
    stage.command() if worker == "command" else (stage.celery(), stage.beat())
    with stage.traffic():
        for _ in range(10):
            stage.database.rows(TERMINATE_ALL, stage.database.name)
            time.sleep(0.7)
    stage.judge()


@pytest.mark.parametrize(("times", "away"), [(3, 2.0), (6, 0.2)])
def test_postgresql_crashes_and_comes_back(stage: Stage, postgres: Postgres, times: int, away: float) -> None:
    """Fan-outs and leases of the last half second are not on the disk (decision 0013), so they are done again."""
    stage.healthy()
    stage.command()
    stage.command()
    crashes = []
    with stage.traffic(after=5.0):
        for _ in range(times):
            crashes.append(time.monotonic())
            postgres.restart(away)
            time.sleep(2.0)
    arrivals = stage.arrivals.update()
    stage.row.allowed = sum(arrivals.between(moment - 1.0, moment + away + 1.0) for moment in crashes)
    stage.judge(stall=away + 8.0, by_nature=True)


def test_postgresql_is_away_between_send_and_record(stage: Stage, postgres: Postgres) -> None:
    """What was sent is kept in memory until it can be recorded."""
    stage.healthy()
    stage.customer("slow", 2, "slow", does="slow 1.5")
    stage.command()
    with stage.traffic(after=4.0):
        stage.host.call("emit", "slow", 5)
        stage.wait_for_arrivals("slow", 10)
        time.sleep(1.0)  # all of it has been recorded, but for the ten under way
        postgres.stop()
        time.sleep(6.0)
        postgres.start()
    stage.judge(stall=6.0 + 8.0, by_nature=True)


def test_every_connection_is_taken_for_6_seconds(flowing: Stage, postgres: Postgres) -> None:
    with flowing.traffic(), contextlib.ExitStack() as taken:
        with contextlib.suppress(psycopg.OperationalError):
            while True:
                connection = psycopg.connect(host=HOST, port=postgres.port, user="app", dbname=flowing.database.name)
                taken.enter_context(contextlib.closing(connection))
        flowing.command(wait_until_it_runs=False)  # one that finds no connection at all
        time.sleep(6.0)
    flowing.judge()


def test_short_timeouts_for_statements_locks_and_idle_transactions(stage: Stage) -> None:
    timeouts = {"statement_timeout": "100ms", "lock_timeout": "50ms", "idle_in_transaction_session_timeout": "300ms"}
    for name, value in timeouts.items():
        stage.database.rows(f"ALTER DATABASE {stage.database.name} SET {name} = '{value}'")
    stage.healthy()
    stage.command()
    with stage.traffic():
        time.sleep(6.0)
    stage.judge()
