"""What every benchmark needs around it: a database of its own, a receiver, workers, and readings of what they used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

EVENT_TYPE = "bench.message"
DATA = {
    "id": "msg_0197f3f6a1b27c3e8a4d5e6f",
    "to": "+33612345678",
    "from": "Acme",
    "status": "sent",
    "text": "Your parcel is on its way — see you tomorrow between 9 and 11.",
    "segments": 1,
}


def set_up_django() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench.bench_settings"
    import django

    django.setup()
    from webhooks_app import EventType, registry

    registry.register(EventType(EVENT_TYPE, "A message, as large as messages usually are."))


@contextmanager
def database() -> Iterator[None]:
    """A fresh database (`test_…`), migrated, dropped afterwards. Children find it through BENCH_DATABASE."""
    from django.db import connection

    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    os.environ["BENCH_DATABASE"] = str(connection.settings_dict["NAME"])
    try:
        yield
    finally:
        connection.creation.destroy_test_db(os.environ.pop("BENCH_DATABASE"), verbosity=0)


class Child:
    """A process that is spoken to in lines."""

    def __init__(self, *command: str, environment: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
            cwd=Path(__file__).resolve().parent.parent,
        )

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hear(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a child process ended early (exit code {self.process.wait()}); see its message above")
        return json.loads(line)

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)


@contextmanager
def receiver() -> Iterator[tuple[Child, str]]:
    """The receiver in a process of its own, and its base URL."""
    child = Child("-m", "bench.receiver")
    try:
        yield child, f"http://127.0.0.1:{child.hear()['port']}"
    finally:
        child.end()


@contextmanager
def workers(count: int, *arguments: str) -> Iterator[list[Child]]:
    """Engines in processes of their own, started up and waiting for the word."""
    children = [Child("-m", "bench.worker", *arguments) for _ in range(count)]
    try:
        for child in children:
            child.hear()
        yield children
    finally:
        for child in children:
            child.end()


def make_endpoints(base: str, count: int, *, hanging: int = 0) -> None:
    """`count` tenants with one endpoint each; the first `hanging` of them never answer."""
    from webhooks_app.actions.endpoints import create_endpoint

    for number in range(count):
        path = f"/hang/{number}" if number < hanging else f"/ok/{number}"
        create_endpoint(f"bench-{number}", url=base + path, events=[EVENT_TYPE])


def emit_events(count: int, endpoints: int, *, first: int = 0) -> float:
    """Emit `count` events, spread evenly over the tenants. Returns seconds."""
    from webhooks_app import EventInput, emit_many

    begun = time.perf_counter()
    for start in range(0, count, 500):
        numbers = range(start, min(start + 500, count))
        emit_many(
            EventInput(type=EVENT_TYPE, data={**DATA, "number": first + number}, tenant=f"bench-{number % endpoints}")
            for number in numbers
        )
    return time.perf_counter() - begun


def database_cpu() -> float | None:
    """CPU seconds of all PostgreSQL processes of this machine so far, None where /proc does not tell."""
    ticks = 0
    try:
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and (folder / "comm").read_text().strip() == "postgres":
                fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
                ticks += sum(int(field) for field in fields[11:15])
    except OSError:
        return None
    return ticks / os.sysconf("SC_CLK_TCK") or None
