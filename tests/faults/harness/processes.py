"""The processes of a case: workers, the receiver, the host application."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from project.lifeline import die_with_parent
from tests.faults.workers import ROOT


class Process:
    """One process of Python in a session of its own, its children included; its output goes to a file."""

    stdin: int = subprocess.DEVNULL
    stdout: int | None = None

    def __init__(self, name: str, command: Sequence[str], environment: dict[str, str], folder: Path) -> None:
        self.name = name
        self.begun = time.monotonic()
        #: Seconds until it was ready, where somebody waited for that.
        self.took = 0.0
        self._log = folder / f"{name}.log"
        with self._log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                env=environment,
                stdin=self.stdin,
                stdout=self.stdout or output,
                stderr=output,
                start_new_session=True,
                preexec_fn=die_with_parent,
                text=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def signal(self, number: int) -> None:
        """Send a signal to all of it, children included."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.process.wait(30)

    def terminate(self, seconds: float = 30.0) -> float:
        """SIGTERM, as a supervisor sends it. Return after how many seconds it ended; it is killed if it did not."""
        begun = time.monotonic()
        self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
        return time.monotonic() - begun


class Host(Process):
    """The host application (see `host.py`): `call("emit", uid, 3)`."""

    stdin = subprocess.PIPE
    stdout = subprocess.PIPE

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.ledger = folder / "ledger"
        super().__init__("host", ["-m", "tests.faults.harness.host", str(self.ledger)], environment, folder)
        self._answer()

    def call(self, name: str, *arguments: Any) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([name, *arguments]) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the host application ended:\n{self.said}"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def close(self) -> None:
        self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
