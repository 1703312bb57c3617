"""Fixtures of the fault cases: servers, one of each for a process of tests, and a stage for each case."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from tests.faults.harness import table
from tests.faults.harness.account import Database
from tests.faults.harness.servers import Postgres, Rabbit, Redis
from tests.faults.harness.stage import Stage
from tests.faults.workers import ROOT

TEMPLATE = "template_webhooks"
#: Opens the stage with Django settings of the case's own: `play(WEBHOOKS={"MAX_IN_FLIGHT": 4})`.
Play = Callable[..., Stage]


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """Where servers keep their data. Not in pytest's own folder, which other users may not enter."""
    folder = Path(tempfile.mkdtemp(prefix="webhooks-faults-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def own_postgres(server_folder: Path) -> Iterator[Postgres]:
    server = Postgres(server_folder / "postgres")
    create_template(server)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def own_redis(server_folder: Path) -> Iterator[Redis]:
    server = Redis(server_folder / "redis")
    server.start()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def own_turn(request: pytest.FixtureRequest) -> Iterator[None]:
    """Cases of several processes run beside each other, but one that measures latencies (`quiet`) has the machine to itself.

    Whoever waits for its turn holds the door, so that nobody new comes in before.
    """
    alone = request.node.get_closest_marker("quiet") is not None
    folder = Path(os.environ[table.ROWS])
    with (folder / "door").open("w") as door, (folder / "room").open("w") as room:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        yield


@pytest.fixture
def postgres(own_postgres: Postgres) -> Iterator[Postgres]:
    """The server, up and at its defaults, whatever the case before has done to it."""
    yield own_postgres
    if not own_postgres.running:
        own_postgres.start()
    with own_postgres.admin("postgres") as admin:
        admin.execute("ALTER SYSTEM RESET ALL")
        admin.execute("SELECT pg_reload_conf()")


@pytest.fixture
def broker(own_redis: Redis) -> Redis:
    """The broker, up and empty."""
    if not own_redis.running:
        own_redis.start()
    client = redis.Redis.from_url(own_redis.url)
    client.flushall()
    client.close()
    return own_redis


@pytest.fixture
def own_rabbit(server_folder: Path) -> Iterator[Rabbit]:
    server = Rabbit(server_folder / f"rabbit-{secrets.token_hex(4)}")
    server.start()
    yield server
    server.stop(signal.SIGKILL)


@pytest.fixture
def play(request: pytest.FixtureRequest, tmp_path: Path, postgres: Postgres, broker: Redis) -> Iterator[Play]:
    """A stage on a PostgreSQL database of its own, not yet opened."""
    name = f"case_{secrets.token_hex(4)}"
    with postgres.admin("postgres") as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} OWNER app")
    stage = Stage(case_name(request), tmp_path, Database(postgres, name), postgres.url(name), broker.url)
    yield stage.open
    stage.close()
    if not postgres.running:
        postgres.start()
    postgres.drop(name)


@pytest.fixture
def stage(play: Play) -> Stage:
    """A stage at the app's defaults."""
    return play()


@pytest.fixture
def sqlite_stage(request: pytest.FixtureRequest, tmp_path: Path, broker: Redis) -> Iterator[Stage]:
    file = tmp_path / "case.sqlite3"
    migrate(f"sqlite:///{file}")
    stage = Stage(case_name(request), tmp_path, Database(None, str(file)), f"sqlite:///{file}", broker.url).open()
    yield stage
    stage.close()


def create_template(server: Postgres) -> None:
    """Create a database with all tables, which others are copied from."""
    with server.admin("postgres") as admin:
        admin.execute(f"CREATE DATABASE {TEMPLATE} OWNER app")
    migrate(server.url(TEMPLATE))


def migrate(database_url: str) -> None:
    """Create the tables, and the rows that beat reads."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.faults.harness.settings",
        "DATABASE_URL": database_url,
    }
    for command in (["migrate", "--verbosity=0"], ["webhooks_schedule"]):
        done = subprocess.run(
            [sys.executable, "manage.py", *command],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def case_name(request: pytest.FixtureRequest) -> str:
    """The test's name as a sentence."""
    return request.node.name.removeprefix("test_").replace("_", " ")
