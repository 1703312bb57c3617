"""Start a customer's receiver as a process of its own, on loopback, and read what it thought of each request.

with receiver("node", "msgine", secret) as running:
    requests.post(running.url, …)
    assert running.wait_for(1)[0].verified
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.languages import program

HERE = Path(__file__).parent
#: Every receiver there is: the language, and the system with the way it reads the body.
RECEIVERS = (
    *(
        ("node", name)
        for name in (
            "msgflash",
            "msgine",
            "msgine-raw",
            "messages_dev",
            "messages_dev-json",
            "muchaw",
            "standard",
            "gateway",
        )
    ),
    *(("python", name) for name in ("msgflash", "msgine", "messages_dev", "muchaw", "standard", "gateway")),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the receiver thought of one request, and the status that it answered with."""

    path: str
    verified: bool
    status: int
    body: str


class Receiver:
    """One running receiver. `url` is http://127.0.0.1:port/webhooks/<system>."""

    def __init__(self, process: subprocess.Popen[str], system: str) -> None:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first, f"the receiver {system} did not start (exit {process.wait()})"
        self.url = f"http://127.0.0.1:{json.loads(first)['port']}/webhooks/{system}"
        self._verdicts: list[Verdict] = []
        self._arrived = threading.Condition()
        self._reader = threading.Thread(target=self._read, args=(process.stdout,), daemon=True)
        self._reader.start()

    @property
    def verdicts(self) -> list[Verdict]:
        """Those of all requests so far, in the order of their answers."""
        with self._arrived:
            return list(self._verdicts)

    def wait_for(self, count: int, seconds: float = 10.0) -> list[Verdict]:
        """The verdicts, as soon as there are `count`; fails after `seconds`."""
        with self._arrived:
            enough = self._arrived.wait_for(lambda: len(self._verdicts) >= count, timeout=seconds)
            assert enough, f"{len(self._verdicts)} of {count} requests arrived within {seconds} s"
            return list(self._verdicts)

    def ended(self) -> None:
        """Wait until everything that the process printed is read."""
        self._reader.join(timeout=10)

    def _read(self, lines: Iterator[str]) -> None:
        for line in lines:
            with self._arrived:
                self._verdicts.append(Verdict(**json.loads(line)))
                self._arrived.notify_all()


@contextmanager
def receiver(language: str, system: str, secret: str) -> Iterator[Receiver]:
    """Run the receiver of that language ("node" or "python") and system with the secret's shown text."""
    runs, file = (program("node"), "receiver.mjs") if language == "node" else (sys.executable, "receiver.py")
    with subprocess.Popen(
        [runs, HERE / file, system],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "RECEIVER_SECRET": secret},
    ) as process:
        try:
            running = Receiver(process, system)
            yield running
        finally:
            process.kill()
            process.wait()
        running.ended()
