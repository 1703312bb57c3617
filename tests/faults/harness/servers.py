"""Servers that the fault cases start, break and remove: PostgreSQL, PgBouncer, Redis, and a port that never answers."""

from __future__ import annotations

import contextlib
import glob
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from project.lifeline import die_with_parent
from tests.faults.workers import eventually

HOST = "127.0.0.1"
#: PostgreSQL and PgBouncer refuse to run as root.
UNPRIVILEGED = "postgres"


def free_port() -> int:
    """Return a port below the range that outgoing connections use, so that a server finds it free again after a restart."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as candidate, contextlib.suppress(OSError):
            candidate.bind((HOST, port))
            return port


def program(name: str, *folders: str) -> str:
    """Return the path of a server's program. A missing one skips the test, and fails it in CI."""
    found = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], *folders, "/usr/sbin"]))
    if found is None:
        missing = f"{name} is not installed"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


def postgres_programs() -> str:
    """Return the folder of the newest PostgreSQL's programs."""
    folders = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: float(path.split("/")[4]))
    return os.path.dirname(program("initdb", *reversed(folders)))


class Server:
    """One server process with a folder of its own."""

    def __init__(self, folder: Path, *, unprivileged: bool = False) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._user = UNPRIVILEGED if unprivileged and os.geteuid() == 0 else None
        folder.mkdir(parents=True)
        if self._user:
            shutil.chown(folder, self._user, self._user)

    def command(self) -> list[str]:
        raise NotImplementedError

    def run(self, *command: str) -> None:
        """Run a program of the server's to its end, as the server's user."""
        done = subprocess.run(command, user=self._user, group=self._user, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                user=self._user,
                group=self._user,
                extra_groups=[] if self._user else None,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        eventually(self.answers, lambda: (self.folder / "log").read_text(errors="replace")[-3000:])

    def answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((HOST, self.port)) == 0

    def stop(self, number: int = signal.SIGINT) -> None:
        """Send the signal and wait for the end."""
        if self.process is None:
            return
        self.process.send_signal(number)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.process = None

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None


class Postgres(Server):
    """A PostgreSQL cluster. `crash` ends it as a power failure ends its processes: nothing in memory is written out."""

    def __init__(self, folder: Path) -> None:
        self._programs = postgres_programs()
        super().__init__(folder, unprivileged=True)
        options = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync")
        self.run(f"{self._programs}/initdb", f"--pgdata={folder}/data", *options)
        self.start()
        with self.admin("postgres") as admin:
            admin.execute("CREATE ROLE app LOGIN CREATEDB")

    def command(self) -> list[str]:
        settings = {
            "port": self.port,
            "listen_addresses": HOST,
            "unix_socket_directories": self.folder,
            "max_connections": 60,
            "fsync": "off",  # the machine does not crash, only processes do: what is written stays
            "log_min_messages": "error",
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [f"{self._programs}/postgres", "-D", f"{self.folder}/data", *options]

    def answers(self) -> bool:
        try:
            self.admin("postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def admin(self, database: str) -> psycopg.Connection[Any]:
        """Connect as the superuser, who gets a connection even when the server has no more for others."""
        return psycopg.connect(host=HOST, port=self.port, user="postgres", dbname=database, autocommit=True)

    def url(self, database: str, port: int | None = None) -> str:
        return f"postgres://app@{HOST}:{port or self.port}/{database}"

    def crash(self) -> None:
        self.stop(signal.SIGQUIT)

    def restart(self, away: float = 0.0) -> None:
        """Do what `pg_ctl restart -m immediate` does."""
        self.crash()
        time.sleep(away)
        self.start()

    def drop(self, database: str) -> None:
        with self.admin("postgres") as admin:
            admin.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")


class Redis(Server):
    def command(self) -> list[str]:
        options = ("--port", str(self.port), "--bind", HOST, "--save", "", "--appendonly", "no")
        return [program("redis-server"), *options]

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"


class Rabbit(Server):
    """A RabbitMQ node."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, unprivileged=True)
        self._distribution = free_port()

    def command(self) -> list[str]:
        environment = {
            "HOME": self.folder,
            "RABBITMQ_NODENAME": f"faults-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": HOST,
            "RABBITMQ_NODE_PORT": self.port,
            "RABBITMQ_DIST_PORT": self._distribution,
            "RABBITMQ_MNESIA_BASE": self.folder / "mnesia",
            "RABBITMQ_LOG_BASE": self.folder / "logs",
            "RABBITMQ_CONFIG_FILE": self.folder / "rabbitmq",
            "RABBITMQ_ENABLED_PLUGINS_FILE": self.folder / "plugins",
        }
        settings = [f"{name}={value}" for name, value in environment.items()]
        return ["/usr/bin/env", *settings, program("rabbitmq-server", "/usr/lib/rabbitmq/bin")]

    def stop(self, number: int = signal.SIGTERM) -> None:
        """The server is a script's child, and is to be gone, too."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
        super().stop(number)
        wait(lambda: not self.answers(), 30, "RabbitMQ ends")

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@{HOST}:{self.port}//"


class PgBouncer(Server):
    """PgBouncer in transaction mode: any session of the server may serve any client's next transaction."""

    def __init__(self, folder: Path, postgres: Postgres, sessions: int) -> None:
        super().__init__(folder, unprivileged=True)
        settings = {
            "listen_addr": HOST,
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "any",  # everyone is the user below; the port is open to this machine only
            "pool_mode": "transaction",
            "max_client_conn": 200,
            "default_pool_size": sessions,
            "min_pool_size": sessions,
        }
        lines = [f"{name} = {value}" for name, value in settings.items()]
        databases = f"[databases]\n* = user=app host={HOST} port={postgres.port}\n"
        (folder / "pgbouncer.ini").write_text(databases + "\n".join(["[pgbouncer]", *lines, ""]))

    def command(self) -> list[str]:
        return [program("pgbouncer"), str(self.folder / "pgbouncer.ini")]


@contextlib.contextmanager
def black_hole(port: int = 0) -> Iterator[int]:
    """Listen on a port and never accept: clients connect and hear nothing."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(512)
        yield listener.getsockname()[1]


def wait(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Wait until the condition holds, for some seconds at most."""
    until = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < until, f"This did not happen within {seconds} s: {what}"
        time.sleep(0.03)
    return value
