"""A stage: one case's host application, receiver, workers and servers, the traffic between them, and the verdict.

stage.healthy()                # customers whose receivers answer at once
stage.command()                # or stage.celery() and stage.beat()
with stage.traffic():          # the host emits steadily, and rolls every tenth event back
    ...the fault...
stage.judge(stall=2.0)         # waits for what must arrive, counts, adds a row to the table, asserts
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from tests.faults.harness import table
from tests.faults.harness.account import (
    Arrivals,
    Count,
    Database,
    Target,
    count_unrecorded,
    path_of,
    read_ledger,
    take_stock,
)
from tests.faults.harness.memory import Memory
from tests.faults.harness.processes import Host, Process
from tests.faults.harness.servers import HOST, free_port, wait

#: No case waits longer than this for something that must happen (seconds).
PATIENCE = 60.0
#: An address apart from the healthy receivers', as other customers' servers have.
TROUBLE = "127.0.0.2"
#: The most memory (MiB) that a worker process may ever need.
MOST_MEMORY = 400
#: A process of Python with a limit for its open files.
LIMITED = "import os, resource, sys; n = int(sys.argv[1]); resource.setrlimit(resource.RLIMIT_NOFILE, (n, n)); "
LIMITED += "os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"


class Stage:
    """See above. `database_url` is where workers and host connect; `database` looks at it from outside."""

    def __init__(self, case: str, folder: Path, database: Database, database_url: str, broker_url: str) -> None:
        self.row = table.Row(case=case)
        self.folder = folder
        self.database = database
        self.targets: list[Target] = []
        self.workers: list[Process] = []
        self._begun = time.monotonic()
        #: What was emitted before waited for workers to start, and says nothing about stalls.
        self._flows_since = 0.0
        self._demands: list[str] = []
        self._judged = False
        self._port = free_port()
        self.memory = Memory()
        self.environment = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "PYTHONDEVMODE": "0",  # debug hooks on memory would be measured
            "DJANGO_SETTINGS_MODULE": "tests.faults.harness.settings",
            "DATABASE_URL": database_url,
            "CELERY_BROKER_URL": broker_url,
            "FAULTS_HOST_TASKS": str(folder / "host_tasks"),
        }

    def open(self, **settings: Any) -> Stage:
        """Start the receiver and the host. `settings`: Django settings of the host and the workers (see `settings.py`)."""
        self.environment["FAULTS_SETTINGS"] = json.dumps(settings)
        self.arrivals = Arrivals(self.folder / "arrivals")
        receiver = ["-m", "tests.faults.harness.receiver", str(self._port), str(self.arrivals.log)]
        self._receiver = Process("receiver", receiver, self.environment, self.folder)
        self.host = Host(self.environment, self.folder)
        wait(lambda: self._receiver.alive and self._set("-", "ok"), PATIENCE, "the receiver starts")
        self.memory.start()
        return self

    def close(self) -> None:
        self.memory.stop()
        for process in self.workers:
            process.kill()
        self.host.close()
        self._receiver.kill()
        self.row.seconds = time.monotonic() - self._begun
        table.save(self.row)

    # --- customers ----------------------------------------------------------------------------------------------------

    def healthy(self, tenants: int = 4, endpoints: int = 2) -> list[Target]:
        """Customers whose receivers answer at once."""
        made = [self.customer(f"healthy-{number}", endpoints, "ok", healthy=True) for number in range(tenants)]
        return [target for targets in made for target in targets]

    def customer(
        self,
        uid: str,
        endpoints: int,
        group: str,
        *,
        does: str = "ok",
        owed: bool = True,
        healthy: bool = False,
        email: str = "",
        wire_format: str = "quick",
        **options: Any,
    ) -> list[Target]:
        """Create a tenant with endpoints of a group, which behaves as `does` says (see `receiver.py`)."""
        self.set(group, does)
        address = HOST if healthy else TROUBLE
        urls = [f"http://{address}:{self._port}/{group}/{uid}-{number}" for number in range(endpoints)]
        public_ids = self.host.call("endpoints", uid, urls, {"wire_format": wire_format, **options}, email)
        made = [
            Target(path_of(url), uid, public_id, owed, healthy) for url, public_id in zip(urls, public_ids, strict=True)
        ]
        self.targets += made
        return made

    def set(self, group: str, behaviour: str) -> None:
        assert self._set(group, behaviour)

    def _set(self, group: str, behaviour: str) -> bool:
        request = Request(f"http://{HOST}:{self._port}/_set", f"{group}={behaviour}".encode())
        with contextlib.suppress(OSError), urlopen(request, timeout=10):
            return True
        return False

    # --- workers ------------------------------------------------------------------------------------------------------

    def command(self, *, wait_until_it_runs: bool = True, **options: Any) -> Process:
        """`manage.py webhooks_deliver`, with its engine running."""
        worker = self.start("command", ["manage.py", "webhooks_deliver", "--verbosity=2"], **options)
        if wait_until_it_runs:
            self.until(lambda: worker.pid in self.engine_pids() or not worker.alive, "the command runs an engine")
        worker.took = time.monotonic() - worker.begun
        return worker

    def celery(
        self, concurrency: int = 2, queues: str = "webhooks", options: Sequence[str] = (), **more: Any
    ) -> Process:
        """A Celery worker of the prefork kind."""
        node = f"--hostname={self.row.case[:12].replace(' ', '-')}-{len(self.workers)}@%h"
        command = [
            "-m",
            "celery",
            "--app=project",
            "worker",
            node,
            f"--queues={queues}",
            f"--concurrency={concurrency}",
        ]
        worker = self.start("celery", [*command, "--pool=prefork", "--loglevel=INFO", *options], **more)
        self.until(lambda: " ready." in worker.said or not worker.alive, "the worker is ready")
        worker.took = time.monotonic() - worker.begun
        return worker

    def engine_pids(self) -> list[int]:
        return [row[0] for row in self.database.rows("SELECT pid FROM webhooks_app_engine")]

    def beat(self) -> Process:
        return self.start("beat", ["-m", "celery", "--app=project", "beat", "--pidfile=", "--loglevel=INFO"])

    def start(
        self, name: str, command: Sequence[str], *, open_files: int = 0, environment: dict[str, str] | None = None
    ) -> Process:
        limited = ["-c", LIMITED, str(open_files)] if open_files else []
        environment = {**self.environment, **(environment or {})}
        worker = Process(f"{name}-{len(self.workers)}", [*limited, *command], environment, self.folder)
        self.workers.append(worker)
        self.memory.sessions[worker.pid] = worker.name
        return worker

    def kill(self, *workers: Process) -> None:
        """SIGKILL for these workers. What was in flight then may come twice, and may lack its attempt row."""
        for worker in workers:
            worker.kill()
        self.allow_in_flight()

    def allow_in_flight(self) -> int:
        """Call it just after a fault that loses what was in flight. Return how many requests that were."""
        before, unrecorded = -1, self.unrecorded()
        while before != unrecorded:  # what was on its way arrives
            time.sleep(0.3)
            before, unrecorded = unrecorded, self.unrecorded()
        self.row.allowed += unrecorded
        return unrecorded

    def unrecorded(self) -> int:
        return count_unrecorded(self.targets, self.arrivals.update(), self.database)

    # --- traffic ------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def traffic(self, rate: float = 20.0, after: float = 3.0, uids: Sequence[str] = ()) -> Iterator[None]:
        """Emit steadily for the healthy customers. The block begins once it flows; `after` it, it flows on (seconds)."""
        chosen = list(uids) or sorted({target.uid for target in self.targets if target.healthy})
        self.host.call("emit_steadily", chosen, rate)
        try:
            self.until(lambda: self.arrivals.update().count() >= rate, "the first events arrive")
            self._flows_since = time.monotonic()
            yield
            time.sleep(after)
        finally:
            self.host.call("stop_emitting")

    def wait_for_arrivals(self, group: str, count: int = 1) -> None:
        """Wait until so many requests of a group have come."""
        self.until(lambda: self.arrived(group) >= count, f"{count} requests come to {group}")

    def arrived(self, group: str) -> int:
        times = self.arrivals.update().times.items()
        return sum(len(all_) for (path, _), all_ in times if path.startswith(f"/{group}/"))

    def until(self, condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
        """Wait until the condition holds, and return what it gave."""
        try:
            return wait(condition, seconds, what)
        except AssertionError as error:
            self.row.note = f"(this never happened: {what})"
            raise AssertionError(f"{error}\n{self.story()}") from None

    # --- the verdict --------------------------------------------------------------------------------------------------

    def judge(self, *, stall: float | None = 2.0, by_nature: bool = False, patience: float = PATIENCE) -> Count:
        """Wait until what must arrive has arrived, and count. `stall`: the longest wait (seconds) of a healthy endpoint."""
        count = self._settled(patience)
        row = self.row
        row.events, row.duplicates, row.unrecorded = count.events, count.duplicates, count.unrecorded
        row.lost, row.after_rollback = len(count.lost), len(count.after_rollback)
        row.stall, row.by_nature = (count.stall if count.latencies else None), by_nature
        self.memory.look()
        row.memory = max(self.memory.peaks.values(), default=0)
        problems = [*self._demands, *self._problems(count, stall)]
        self._judged = True
        row.verdict = "FAIL" if problems else "ok"
        row.note = f"({'; '.join(problems)})" if problems else row.note
        assert not problems, f"{'; '.join(problems)}\n{self.story()}"
        return count

    def settle(self) -> None:
        """Wait until everything has arrived, before something is stopped that would deliver the last event."""
        self.until(lambda: not self._count().lost, "everything arrives")

    def demand(self, condition: bool, problem: str) -> None:
        """Something else that must hold. Before `judge` it is kept for the verdict, afterwards it fails at once."""
        if condition:
            return
        if not self._judged:
            self._demands.append(problem)
            return
        self.row.verdict, self.row.note = "FAIL", f"({problem})"
        raise AssertionError(f"{problem}\n{self.story()}")

    def _problems(self, count: Count, stall: float | None) -> Iterator[str]:
        row = self.row
        if count.lost:
            yield f"{len(count.lost)} of the deliveries never arrived, {count.lost[0]} for one"
        if count.after_rollback:
            yield f"{len(count.after_rollback)} rolled-back events were sent"
        if row.duplicates > row.allowed:
            yield f"{row.duplicates} duplicates, {row.allowed} were in flight"
        if row.unrecorded > row.allowed:
            yield f"{row.unrecorded} requests have no attempt row, {row.allowed} were in flight"
        if stall is not None and count.stall > stall:
            yield f"a healthy endpoint waited for {count.stall:.1f} s, more than {stall} s"
        if row.memory > MOST_MEMORY:
            yield f"a worker needed {row.memory} MiB"

    def _settled(self, patience: float) -> Count:
        until = time.monotonic() + patience
        while True:
            count = self._count()
            done = not count.lost and not self._pending() and count.unrecorded <= self.row.allowed
            if done or time.monotonic() > until:
                return count
            time.sleep(0.2)

    def _count(self) -> Count:
        ledger = read_ledger(self.host.ledger)
        return take_stock(ledger, self.targets, self.arrivals.update(), self.database, self._flows_since)

    def _pending(self) -> bool:
        owed = {target.public_id.removeprefix("wh_") for target in self.targets if target.owed}
        pending = self.database.rows("SELECT DISTINCT endpoint_id FROM webhooks_app_delivery WHERE status = 'pending'")
        return any(getattr(row[0], "hex", row[0]) in owed for row in pending)

    def story(self) -> str:
        logs = "\n".join(f"--- {process.name}\n{process.said[-2500:]}" for process in self.workers)
        return f"{logs}\n--- host\n{self.host.said[-1500:]}\n(all logs: {self.folder}, {sys.argv[0]})"
