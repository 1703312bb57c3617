"""What happened, counted from outside: the host's ledger, the receiver's log, and the tables."""

from __future__ import annotations

import math
import sqlite3
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from tests.faults.harness.servers import Postgres

Key = tuple[str, str]  # (path, webhook-id)


@dataclass(frozen=True, slots=True)
class Target:
    """An endpoint, and what it is promised."""

    path: str
    uid: str
    public_id: str
    #: It must get every event. False for receivers that never answer.
    owed: bool
    #: It answers at once, so what it waits for is the engine's doing.
    healthy: bool


@dataclass(frozen=True, slots=True)
class Emitted:
    fate: str
    at: float
    uid: str
    public_id: str


@dataclass(slots=True)
class Arrivals:
    """The receiver's log. Read again, it goes on where it stopped."""

    log: Path
    times: dict[Key, list[float]] = field(default_factory=dict)
    #: (end, seconds) of pauses in which the machine gave the receiver no time.
    hiccups: list[tuple[float, float]] = field(default_factory=list)
    _read: int = 0

    def update(self) -> Arrivals:
        with self.log.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        complete = text[: text.rfind(b"\n") + 1]
        self._read += len(complete)
        for line in complete.decode().splitlines():
            at, path, what = line.split(" ")
            if path == "~":
                self.hiccups.append((float(at), float(what)))
            else:
                self.times.setdefault((path, what), []).append(float(at))
        return self

    def count(self) -> int:
        return sum(len(times) for times in self.times.values())

    def between(self, start: float, end: float) -> int:
        return sum(start <= at <= end for times in self.times.values() for at in times)

    def paused(self, start: float, end: float) -> float:
        """Return how much of this time the machine withheld."""
        return sum(seconds for at, seconds in self.hiccups if start < at <= end + seconds)


class Database:
    """The case's database, read from outside, whatever the workers do."""

    def __init__(self, postgres: Postgres | None, name: str) -> None:
        self._postgres = postgres
        self.name = name

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        if self._postgres is None:
            connection = sqlite3.connect(self.name, timeout=20)
            try:
                return connection.execute(query.replace("%s", "?"), parameters).fetchall()
            finally:
                connection.close()
        with self.admin() as admin:
            cursor = admin.execute(query, parameters or None)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def admin(self) -> psycopg.Connection[Any]:
        """Open a superuser's connection in autocommit mode."""
        assert self._postgres is not None
        return self._postgres.admin(self.name)

    def number(self, query: str, *parameters: Any) -> int:
        return int(self.rows(query, *parameters)[0][0])

    def attempts(self) -> Counter[Key]:
        """Requests that are recorded, by path and webhook-id."""
        found = self.rows(
            "SELECT a.url, d.event_id, count(*) FROM webhooks_app_attempt a "
            "JOIN webhooks_app_delivery d ON d.id = a.delivery_id GROUP BY 1, 2"
        )
        return Counter({(path_of(url), event_id(event)): count for url, event, count in found})

    def stored_events(self) -> set[str]:
        return {event_id(row[0]) for row in self.rows("SELECT id FROM webhooks_app_event")}


def path_of(url: str) -> str:
    return "/" + url.split("/", 3)[3]


def event_id(key: Any) -> str:
    """A UUID as PostgreSQL gives it, or the hexadecimal text that SQLite keeps."""
    return f"evt_{getattr(key, 'hex', key)}"


def read_ledger(path: Path) -> list[Emitted]:
    lines = (line.split(" ") for line in path.read_text().splitlines())
    return [Emitted(fate, float(at), uid, public_id) for fate, at, uid, public_id in lines]


@dataclass(slots=True)
class Count:
    """The sum of it all."""

    events: int
    lost: list[Key]
    after_rollback: list[Key]
    duplicates: int
    unrecorded: int
    #: Of healthy endpoints: seconds from each commit to the first arrival, with the time of the commit.
    latencies: list[tuple[float, float]]
    stall: float


def take_stock(
    ledger: list[Emitted], targets: Iterable[Target], arrivals: Arrivals, database: Database, since: float = 0.0
) -> Count:
    """Compare what was committed with what arrived and what was recorded. Waits are those of events committed `since`."""
    chosen = list(targets)
    stored = database.stored_events()
    committed = [one for one in ledger if one.fate == "committed" or one.public_id in stored]
    gone = {one.public_id for one in ledger if one.fate == "rolled-back"}
    gone |= {one.public_id for one in ledger if one.fate == "unknown"} - stored
    by_uid: dict[str, list[Emitted]] = {}
    for one in committed:
        by_uid.setdefault(one.uid, []).append(one)
    lost, latencies, stall, duplicates = [], [], 0.0, 0
    for target in chosen:
        for one in by_uid.get(target.uid, []):
            times = arrivals.times.get((target.path, one.public_id), [])
            if target.owed:
                duplicates += max(len(times) - 1, 0)
                if not times:
                    lost.append((target.path, one.public_id))
            if target.healthy and one.at >= since:
                first = times[0] if times else math.inf
                latencies.append((one.at, max(first - one.at, 0.0)))
                waited = first - one.at
                if waited > stall:
                    stall = max(stall, waited - arrivals.paused(one.at, first))
    unrecorded = count_unrecorded(chosen, arrivals, database)
    sent_anyway = [key for key in arrivals.times if key[1] in gone]
    return Count(len(committed), lost, sent_anyway, duplicates, unrecorded, latencies, stall)


def count_unrecorded(targets: Iterable[Target], arrivals: Arrivals, database: Database) -> int:
    """Requests without an attempt row, where receivers answer: a request that hangs has none yet."""
    attempts = database.attempts()
    owed = {target.path for target in targets if target.owed}
    return sum(max(len(times) - attempts[key], 0) for key, times in arrivals.times.items() if key[0] in owed)


def percentile(latencies: list[tuple[float, float]], start: float, end: float, share: float = 0.99) -> float:
    """Return this percentile (seconds) of the events that were committed between two moments."""
    chosen = sorted(seconds for at, seconds in latencies if start <= at < end)
    assert len(chosen) >= 50, f"{len(chosen)} deliveries are too few to tell a percentile from"
    return chosen[min(math.ceil(share * len(chosen)) - 1, len(chosen) - 1)]
