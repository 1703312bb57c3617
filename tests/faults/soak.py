"""A soak: `python -m tests.faults.soak --minutes 30`. A random fault every 15 seconds, then the count and the growth of memory.

A command and a Celery worker live through it all, so that the growth of their memory can be told; others are there to be killed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import redis

from tests.faults.harness import table
from tests.faults.harness.account import Database
from tests.faults.harness.fixtures import TEMPLATE, create_template
from tests.faults.harness.processes import Process
from tests.faults.harness.servers import Postgres, Redis
from tests.faults.harness.stage import Stage

TERMINATE_ALL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND usename = 'app'"
LOCK_QUEUES = "SELECT 1 FROM webhooks_app_endpointqueue LIMIT 1 FOR UPDATE"


class Soak:
    """Breaks one thing after another. Each fault is a method; what it loses at most is added to what may come twice."""

    def __init__(self, stage: Stage, postgres: Postgres, broker: Redis, seed: int) -> None:
        self.stage, self.postgres, self.broker = stage, postgres, broker
        self._random = random.Random(seed)
        self._victims: list[Process] = []
        self.faults: list[Callable[[], None]] = [
            self.kill_a_command,
            self.kill_a_celery_worker,
            self.stop_a_command,
            self.freeze_a_command,
            self.crash_postgresql,
            self.terminate_sessions,
            self.lock_a_queue,
            self.make_the_database_read_only,
            self.kill_redis,
            self.empty_the_broker,
            self.let_endpoints_hang,
        ]

    def run(self, minutes: float, every: float = 15.0) -> None:
        stage = self.stage
        stage.healthy()
        stage.customer("troubled", 20, "troubled", owed=False)
        stage.command()
        stage.celery()
        stage.beat()
        self._victims = [stage.command(), stage.celery()]
        with stage.traffic(after=15.0):
            end = time.monotonic() + minutes * 60
            while time.monotonic() < end:
                begun = time.monotonic()
                fault = self._random.choice(self.faults)
                print(f"{time.strftime('%H:%M:%S')} {fault.__name__.replace('_', ' ')}", file=sys.stderr, flush=True)
                stage.host.call("emit_quietly", "troubled", 5)
                fault()
                time.sleep(max(begun + every - time.monotonic(), 1.0))

    # --- faults -------------------------------------------------------------------------------------------------------

    def kill_a_command(self) -> None:
        self.stage.kill(self._victims[0])
        self._victims[0] = self.stage.command(wait_until_it_runs=False)

    def kill_a_celery_worker(self) -> None:
        self.stage.kill(self._victims[1])
        self._victims[1] = self.stage.celery()

    def stop_a_command(self) -> None:
        self._victims[0].terminate()
        self._victims[0] = self.stage.command(wait_until_it_runs=False)

    def freeze_a_command(self) -> None:
        self._victims[0].signal(signal.SIGSTOP)
        self.stage.allow_in_flight()
        time.sleep(10.0)
        self._victims[0].signal(signal.SIGCONT)

    def crash_postgresql(self) -> None:
        moment = time.monotonic()
        self.postgres.restart(away=1.0)
        time.sleep(2.0)
        self.stage.row.allowed += self.stage.arrivals.update().between(moment - 1.0, moment + 2.0)

    def terminate_sessions(self) -> None:
        self.stage.database.rows(TERMINATE_ALL, self.stage.database.name)

    def lock_a_queue(self) -> None:
        with self.stage.database.admin() as admin, admin.transaction():
            admin.execute(LOCK_QUEUES)
            time.sleep(5.0)

    def make_the_database_read_only(self) -> None:
        for change in ("SET default_transaction_read_only = on", "RESET default_transaction_read_only"):
            self.stage.database.rows(f"ALTER SYSTEM {change}")
            self.stage.database.rows("SELECT pg_reload_conf()")
            time.sleep(2.0)

    def kill_redis(self) -> None:
        self.broker.stop(signal.SIGKILL)
        time.sleep(4.0)
        self.broker.start()

    def empty_the_broker(self) -> None:
        with contextlib.closing(redis.Redis.from_url(self.broker.url)) as client:
            client.flushall()

    def let_endpoints_hang(self) -> None:
        self.stage.set("troubled", "hang")
        time.sleep(5.0)
        self.stage.set("troubled", "ok")

    # --- what came of it ----------------------------------------------------------------------------------------------

    def growth(self, minutes: float) -> dict[str, float]:
        """MiB a minute of each process that lived through it."""
        return self.stage.memory.slopes(lasting=minutes * 60 * 0.8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10_000))
    chosen = parser.parse_args()
    print(f"{chosen.minutes:g} minutes, --seed {chosen.seed}")
    folder = Path(tempfile.mkdtemp(prefix="webhooks-soak-"))
    folder.chmod(0o755)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        os.environ["WEBHOOKS_TEST_DIR"] = str(folder / "var")
        postgres, broker = Postgres(folder / "postgres"), Redis(folder / "redis")
        stack.callback(postgres.stop)
        stack.callback(broker.stop)
        broker.start()
        create_template(postgres)
        (folder / "case").mkdir()
        database, url = Database(postgres, TEMPLATE), postgres.url(TEMPLATE)
        stage = stack.enter_context(
            contextlib.closing(Stage("soak", folder / "case", database, url, broker.url))
        ).open()
        soak = Soak(stage, postgres, broker, chosen.seed)
        soak.run(chosen.minutes)
        try:
            stage.judge(stall=None, patience=120.0)
        finally:
            print(table.render([stage.row]))
            for process, growth in sorted(soak.growth(chosen.minutes).items()):
                print(f"{process}: {growth:+.2f} MiB a minute")


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings_test")
    main()
