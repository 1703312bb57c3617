"""Real worker processes, to be killed and stopped, and the settings that make their ends come soon."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from project.lifeline import die_with_parent
from webhooks_app.core.retry import GONE, RETRY_AFTER, RetryPolicy
from webhooks_app.wire_formats import standard

ROOT = Path(__file__).resolve().parent.parent.parent
#: A dead engine is known by then (seconds).
HEARTBEAT = 3.0
#: No test waits longer than this for something that must happen (seconds).
PATIENCE = 60.0

#: A second for a request, and a retry after another one.
BRISK = replace(
    standard.WIRE_FORMAT,
    name="brisk",
    connect_timeout=1.0,
    total_timeout=1.0,
    retry=RetryPolicy(delays=(timedelta(seconds=1),) * 9, jitter=0.0, breaker=False, rules=(RETRY_AFTER, GONE)),
)
#: The same for workers that nobody kills: a machine that is busy for seconds must not make requests come twice.
PATIENT = replace(BRISK, connect_timeout=10.0, total_timeout=20.0)


def quick_settings(queue: str) -> dict[str, Any]:
    """The WEBHOOKS settings that the test and its workers share."""
    heartbeat = float(os.environ.get("WEBHOOKS_TEST_HEARTBEAT", "30"))
    return {
        "WAKE_FUNCTION": "webhooks_app.tasks.send_hint",
        "CELERY_QUEUE": queue,
        "WIRE_FORMATS": {"brisk": f"tests.faults.workers.{'BRISK' if heartbeat == HEARTBEAT else 'PATIENT'}"},
        "DEFAULT_WIRE_FORMAT": "brisk",
        "MAX_CELERY_ENGINES": int(os.environ.get("WEBHOOKS_TEST_ENGINES", "2")),
        "ENGINE": {
            "HEARTBEAT_SECONDS": heartbeat,
            "HINT_COALESCE_SECONDS": 0.05,
            "LINGER_SECONDS": 0.2,
            "DELIVER_SECONDS": float(os.environ.get("WEBHOOKS_TEST_DELIVER_SECONDS", "30")),
        },
    }


class Worker:
    """One process, in a group of its own, its output in a file."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str], log: Path) -> None:
        self.name = name
        self._log = log
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    @property
    def said(self) -> str:
        return self._log.read_text()

    def wait_until_it_says(self, words: str) -> None:
        eventually(lambda: words in self.said or self.process.poll() is not None, self._story)
        assert words in self.said, self._story()

    def kill(self) -> None:
        """SIGKILL for all of it, children included."""
        self._signal_group(signal.SIGKILL)
        self.process.wait(PATIENCE)

    def kill_parent(self) -> None:
        """SIGKILL for the process that was started; its children learn of it as they may."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def terminate(self) -> int:
        """SIGTERM, as a supervisor sends it. Returns the exit code."""
        self.process.terminate()
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not stop: {self._story()}") from None

    def clear_away(self) -> None:
        self._signal_group(signal.SIGKILL)
        self.process.wait(PATIENCE)

    def _signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def _story(self) -> str:
        return f"{self.name} (exit code {self.process.poll()}) said:\n{self.said[-6000:]}"


def eventually(condition: Callable[[], Any], story: Callable[[], str] = str) -> Any:
    """Wait until the condition holds, and return what it gave."""
    until = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < until, f"it never happened. {story()}"
        time.sleep(0.02)
    return value
