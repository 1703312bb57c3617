"""Connection pools hand a session from one user to the next: the engine must leave nothing behind in it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.faults.harness.fixtures import Play
from tests.faults.harness.servers import HOST, PgBouncer, Postgres, free_port
from tests.faults.harness.stage import Stage
from tests.faults.workers import ROOT

#: What clients themselves set when they connect; PgBouncer passes these on.
ORDINARY = (
    "application_name",
    "client_encoding",
    "DateStyle",
    "TimeZone",
    "standard_conforming_strings",
    "IntervalStyle",
)
LEFT_BEHIND = "SELECT name, setting FROM pg_settings WHERE source = 'session' AND name <> ALL(%s)"
SERVER_SESSIONS = 6
COMMITS = 200


@pytest.fixture
def bouncer(request: pytest.FixtureRequest, postgres: Postgres, server_folder: Path) -> Iterator[PgBouncer]:
    """PgBouncer with so many sessions on the server; the parameter says how many."""
    pgbouncer = PgBouncer(server_folder / f"pgbouncer-{free_port()}", postgres, sessions=request.param)
    pgbouncer.start()
    yield pgbouncer
    pgbouncer.stop()


def connect(port: int, database: str) -> psycopg.Connection[Any]:
    return psycopg.connect(host=HOST, port=port, user="app", dbname=database, prepare_threshold=None)


def lets_in(port: int, database: str) -> bool:
    with contextlib.suppress(psycopg.OperationalError), connect(port, database) as client:
        client.execute("SELECT 1")
        return True
    return False


def left_behind(port: int, database: str) -> list[str]:
    """Look at every session of the pool at once: what is set there that a client did not ask for?"""
    found, seen = [], set()
    with contextlib.ExitStack() as stack:
        for _ in range(SERVER_SESSIONS):
            connection = stack.enter_context(contextlib.closing(connect(port, database)))
            found += connection.execute(LEFT_BEHIND, (list(ORDINARY),)).fetchall()  # and its transaction stays open
            seen.add(connection.execute("SELECT pg_backend_pid()").fetchone())
    assert len(seen) == SERVER_SESSIONS, f"only {len(seen)} sessions were looked at"
    return [f"{name} = {value}" for name, value, *_ in found]


def through(play: Play, postgres: Postgres, bouncer: PgBouncer) -> Stage:
    """A stage whose processes all connect to PgBouncer."""
    stage = play(DATABASE={"DISABLE_SERVER_SIDE_CURSORS": True})
    url = stage.environment["DATABASE_URL"]
    stage.environment["DATABASE_URL"] = url.replace(f":{postgres.port}/", f":{bouncer.port}/")
    stage.healthy()
    stage.command()
    return stage


@pytest.mark.parametrize("bouncer", [SERVER_SESSIONS], indirect=True, ids=["6 sessions"])
def test_pgbouncer_in_transaction_mode(play: Play, postgres: Postgres, bouncer: PgBouncer) -> None:
    stage = through(play, postgres, bouncer)
    stage.celery()
    stage.beat()
    with stage.traffic():
        time.sleep(6.0)
        found = left_behind(bouncer.port, stage.database.name)
    stage.demand(not found, f"sessions of the pool were left with {', '.join(sorted(set(found)))}")
    stage.judge()


@pytest.mark.parametrize("bouncer", [1], indirect=True, ids=["1 session"])
def test_the_hosts_commits_survive_a_crash_behind_pgbouncer(play: Play, postgres: Postgres, bouncer: PgBouncer) -> None:
    """There is one session for all, and what is not flushed at a commit stays in memory for seconds."""
    stage = through(play, postgres, bouncer)
    stage.database.rows("CREATE TABLE orders (id int); GRANT ALL ON orders TO app")
    stage.database.rows("ALTER SYSTEM SET wal_writer_delay = '10s'")
    stage.database.rows("SELECT pg_reload_conf()")
    with stage.traffic():
        time.sleep(3.0)
    for worker in stage.workers:
        worker.terminate()
    with contextlib.closing(connect(bouncer.port, stage.database.name)) as client:
        for number in range(COMMITS):
            client.execute("INSERT INTO orders VALUES (%s)", (number,))
            client.commit()
        postgres.crash()
    postgres.start()
    kept = stage.database.number("SELECT count(*) FROM orders")
    stage.demand(kept == COMMITS, f"{COMMITS - kept} of {COMMITS} acknowledged commits of the host are gone")
    # For up to 15 s it refuses logins after one that has failed, and a command that cannot log in is its supervisor's to restart.
    stage.until(lambda: lets_in(bouncer.port, stage.database.name), "PgBouncer lets clients in again")
    stage.command()
    stage.row.allowed = stage.arrivals.update().count()  # this case is about the host's own rows
    stage.judge(stall=None)


#: A process whose Django uses psycopg's pool delivers, then looks at all sessions of that pool.
POOLED = """
import sys, threading
import django
django.setup()
from django.core.management import call_command
from django.db import connection
call_command("webhooks_deliver", until_idle=1.0, verbosity=0)
barrier = threading.Barrier(4)
def look():
    with connection.cursor() as cursor:
        barrier.wait(20)
        cursor.execute("SELECT name, setting FROM pg_settings WHERE source = 'session' AND name <> ALL(%s)", [sys.argv[1:]])
        for name, setting in cursor.fetchall():
            print(name, "=", setting, flush=True)
        barrier.wait(20)
    connection.close()
threads = [threading.Thread(target=look) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
connection.close_pool()
"""


def test_psycopgs_pool(play: Play, postgres: Postgres) -> None:
    pool = {"pool": {"min_size": 4, "max_size": 8}}
    stage = play(DATABASE={"OPTIONS": pool, "CONN_MAX_AGE": 0})
    stage.healthy()
    stage.host.call("emit", "healthy-0", 50)
    done = subprocess.run(
        [sys.executable, "-c", POOLED, *ORDINARY],
        cwd=ROOT, env=stage.environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    stage.command()
    stage.celery()
    stage.beat()
    with stage.traffic():
        time.sleep(5.0)
    stage.demand(done.returncode == 0, f"delivery failed: {done.stderr[-300:]}")
    stage.demand(not done.stdout, f"sessions of the pool were left with {done.stdout.strip()}")
    stage.judge()
