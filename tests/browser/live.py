"""The runnable project, really running: web server, Celery worker, beat, as `make run` starts them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
#: Seconds until it must answer, and until it must have stopped.
START, STOP = 180.0, 30.0
#: So many companies are made at the start, since a process for each would take a second. Half of them have an API key.
COMPANIES = 160

# One hash of the password is enough; each costs as much time as hashes are meant to.
_MAKE_COMPANIES = """
import json
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from project.messaging.models import Organisation
from webhooks_app.tenants.api_keys import create_api_key
User, password, keys = get_user_model(), make_password("browser-only"), []
for number in range({companies}):
    organisation = Organisation.objects.create(name=f"Company {{number}}")
    organisation.members.add(User.objects.create(username=f"manager-{{number}}", password=password))
    organisation.viewers.add(User.objects.create(username=f"viewer-{{number}}", password=password))
    if number >= {companies} // 2:
        keys.append(create_api_key(organisation, name="of the tests")[1])
User.objects.create(username="staff", password=password, is_staff=True, is_superuser=True)
print(json.dumps(keys))
"""
#: Who may see everything in the admin.
STAFF = "staff"


@dataclass(frozen=True)
class Person:
    """Somebody who can log in."""

    name: str
    organisation: str = ""
    password: str = "browser-only"
    #: An API key of the organisation, where it has one.
    key: str = ""


class LiveProject:
    """`with LiveProject(folder) as live:` – everything is kept in the folder, and stops at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, receiver_port = _free_port(), _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "run.log"
        self._environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "VAR_DIR": str(folder),
            "PORT": str(self.port),
            "DEMO_RECEIVER_PORT": str(receiver_port),
            "DEMO_PASSWORD": "browser-only",
        }
        self._numbers, self._keys = count(), list[str]()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> LiveProject:
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "project.run"], cwd=ROOT, env=self._environment, stdout=log, stderr=log
            )
        try:
            self._wait_until_it_answers()
            made = self.manage("shell", "-v", "0", "-c", _MAKE_COMPANIES.format(companies=COMPANIES))
            self._keys = json.loads(made)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(STOP)

    def manage(self, *arguments: str) -> str:
        """`manage.py …` on its database; returns what it printed."""
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self._environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def manager(self, *, with_key: bool = False) -> Person:
        """Somebody who manages an organisation that nobody has used before."""
        number = next(self._numbers)
        assert number < COMPANIES // 2, "raise COMPANIES"
        if not with_key:
            return Person(f"manager-{number}", f"Company {number}")
        key, number = self._keys[number], number + COMPANIES // 2
        return Person(f"manager-{number}", f"Company {number}", key=key)

    @staticmethod
    def viewer_beside(manager: Person) -> Person:
        """Somebody of the same organisation who may only look."""
        return Person(manager.name.replace("manager", "viewer"), manager.organisation)

    def asks(self, key: str, path: str, *, data: object = None, method: str = "") -> Any:
        """Ask the REST API; returns the JSON of its answer. Raises HTTPError."""
        request = urllib.request.Request(
            f"{self.url}/api/v1/{path}",
            data=None if data is None else json.dumps(data).encode(),
            headers={"Content-Type": "application/json", "X-API-Key": key},
            method=method or None,
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def emit(self, person: Person, type: str, data: object, **options: object) -> str:  # noqa: A002
        """Publish an event over the REST API; returns its id."""
        return str(self.asks(person.key, "events", data={"type": type, "data": data, **options})["id"])

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        until = time.monotonic() + START
        while b"Ctrl-C stops everything" not in self.log.read_bytes():
            ended = self._process.poll() is not None or time.monotonic() > until
            assert not ended, f"the project did not start:\n{self.log.read_text()}"
            time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
