"""Start the receiver as a process, and read its report."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.request import ProxyHandler, build_opener

from project.demo.behaviour import Played, Seen
from project.lifeline import die_with_parent

# Loopback is never reached through a proxy, whatever the environment says.
_open = build_opener(ProxyHandler({})).open


def write_config(path: Path, endpoints: Iterable[Played]) -> None:
    """Write the receiver's configuration. Only this user may read it, since it contains secrets."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump([asdict(played) for played in endpoints], file)


class ReceiverProcess:
    """The receiver as a context manager: `play` starts it on a free port, and leaving the context stops it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="webhooks-demo-")
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        return self

    def play(self, endpoints: Iterable[Played]) -> str:
        """Start it; return its base URL."""
        config = Path(self._folder.name) / "endpoints.json"
        write_config(config, endpoints)
        command = [sys.executable, "-m", "project.demo.receiver", "--config", str(config)]
        root = Path(__file__).resolve().parents[2]
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            command, stdout=subprocess.PIPE, text=True, cwd=root, start_new_session=True, preexec_fn=die_with_parent
        )
        assert self._process.stdout is not None
        port = self._process.stdout.readline().strip()
        if not port:
            raise RuntimeError("The demo receiver did not start; what it said is above.")
        self.url = f"http://127.0.0.1:{port}"
        return self.url

    def report(self) -> dict[str, Seen]:
        """Return what each endpoint has received, by key."""
        with _open(f"{self.url}/report", timeout=30) as answer:
            return {key: Seen.from_json(seen) for key, seen in json.load(answer).items()}

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=10)
            assert self._process.stdout is not None
            self._process.stdout.close()
        self._folder.cleanup()
