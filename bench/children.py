"""The processes of a benchmark: they are spoken to in lines, die with it, and a failing one ends it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from project.lifeline import die_with_parent

ROOT = Path(__file__).resolve().parent.parent
#: Seconds that a process is given to end by itself.
GRACE = 5.0


class Child:
    """A process in a group of its own. What it says on standard error is seen at once, unless `log` takes it."""

    def __init__(self, *command: str, name: str = "", log: IO[str] | None = None) -> None:
        self.name = name or " ".join(command)
        self._log = log
        self.process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=log or subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=ROOT,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            self._fail()

    def hear(self) -> Any:
        """The next line that it prints, read as JSON. Raises SystemExit where it has ended instead."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self._fail()
        return json.loads(line)

    def ask(self, question: str) -> Any:
        self.say(question)
        return self.hear()

    def check(self) -> None:
        """Raises SystemExit where the process has ended."""
        if self.process.poll() is not None:
            self._fail()

    def end(self) -> None:
        """Ask it to end; whatever of its group is left after GRACE seconds is killed."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self._signal(signal.SIGTERM, to_group=False)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(GRACE)
        self._signal(signal.SIGKILL, to_group=True)
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def cpu_seconds(self) -> float | None:
        """CPU seconds of its process group so far, None where /proc does not tell."""
        group = self.process.pid
        return cpu_seconds_of(lambda name, fields: int(fields[2]) == group, with_ended=False)

    def _signal(self, number: signal.Signals, *, to_group: bool) -> None:
        with contextlib.suppress(ProcessLookupError):
            if to_group:
                os.killpg(self.process.pid, number)
            else:
                self.process.send_signal(number)

    def _fail(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(GRACE)
        if self._log is not None:
            self._log.flush()
            self._log.seek(0)
            sys.stderr.write("".join(self._log.readlines()[-30:]))
        raise SystemExit(f"bench: {self.name} ended early (exit code {self.process.returncode}); its message is above")


def cpu_seconds_of(wanted: Callable[[str, Sequence[str]], bool], *, with_ended: bool) -> float | None:
    """CPU seconds so far of the processes that are wanted, by name and the fields of /proc/…/stat after it.

    `with_ended` counts their children that have ended, too. None where /proc does not tell.
    """
    ticks = 0
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            before, after = file.read_text().rsplit(")", 1)
            fields = after.split()
            if wanted(before.split("(", 1)[1], fields):
                ticks += sum(int(field) for field in fields[11 : 15 if with_ended else 13])
    return ticks / os.sysconf("SC_CLK_TCK") or None


def machine_cpu() -> float | None:
    """CPU seconds that all programs on this machine have used so far, None where /proc does not tell.

    Where a benchmark's own share is much smaller than the growth of this, others were at work and the result is noise.
    """
    try:
        user, nice, system, _idle, _iowait, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    except (OSError, ValueError):
        return None
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


@contextmanager
def all_ended(children: Sequence[Child]) -> Iterator[None]:
    """End these processes afterwards: all are asked first, so that they end at the same time."""
    try:
        yield
    finally:
        for child in children:
            child._signal(signal.SIGTERM, to_group=False)
        for child in children:
            child.end()


def wait_until(
    progress: Callable[[], int], goal: int, what: str, children: Sequence[Child] = (), *, patience: float = 30.0
) -> None:
    """Ask for `progress` until it reaches the goal.

    Raises SystemExit where a child has ended meanwhile, or where nothing has moved for `patience` seconds.
    """
    best, moved_at = -1, time.monotonic()
    while (now := progress()) < goal:
        for child in children:
            child.check()
        if now > best:
            best, moved_at = now, time.monotonic()
        elif time.monotonic() - moved_at > patience:
            raise SystemExit(f"bench: {now} of {goal} {what}, and nothing has moved for {patience:.0f} s")
        time.sleep(0.01)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """End the benchmark in an orderly way after so many seconds, and when it is terminated from outside."""

    reason: list[str | int] = []

    def too_long(*_: object) -> None:
        reason.append(f"bench: not done after {seconds:g} s, the limit (--limit); given up")
        raise SystemExit(reason[0])

    def terminated(*_: object) -> None:
        reason.append(128 + signal.SIGTERM)
        raise SystemExit(reason[0])

    before = {number: signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGTERM)}
    signal.signal(signal.SIGALRM, too_long)
    signal.signal(signal.SIGTERM, terminated)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except Exception:
        # A database driver that is interrupted may raise something of its own instead.
        if reason:
            raise SystemExit(reason[0]) from None
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
