"""The memory of the workers, watched from outside."""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from pathlib import Path


class Memory(threading.Thread):
    """Reads once a second how much memory each process of some sessions (process groups) has used at most."""

    def __init__(self) -> None:
        super().__init__(name="memory", daemon=True)
        #: Session → the name of the worker that it belongs to.
        self.sessions: dict[int, str] = {}
        #: Peak in MiB, by process.
        self.peaks: dict[int, int] = {}
        #: (worker, process) → (time, resident MiB) at each look.
        self.samples: dict[tuple[str, int], list[tuple[float, float]]] = {}
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(1.0):
            self.look()

    def look(self) -> None:
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            # A process that has just ended has no memory, or is no longer there.
            with contextlib.suppress(OSError, ValueError, IndexError, KeyError):
                session = int((folder / "stat").read_text().rpartition(")")[2].split()[3])
                if session in self.sessions:
                    sizes = _sizes((folder / "status").read_text())
                    pid = int(folder.name)
                    self.peaks[pid] = max(self.peaks.get(pid, 0), round(sizes["VmHWM"]))
                    self.samples.setdefault((self.sessions[session], pid), []).append(
                        (time.monotonic(), sizes["VmRSS"])
                    )

    def stop(self) -> int:
        """End the watch and return the peak of the largest process in MiB."""
        self._stopped.set()
        if self.ident is not None:  # a case that was skipped has not started it
            self.join(5)
        return max(self.peaks.values(), default=0)

    def slopes(self, lasting: float) -> dict[str, float]:
        """Return the growth in MiB a minute of each process that lived so long (seconds), without its first third."""
        found = {}
        for (worker, pid), samples in self.samples.items():
            if samples[-1][0] - samples[0][0] >= lasting:
                found[f"{worker}/{pid}"] = slope(samples[len(samples) // 3 :]) * 60
        return found


def slope(samples: list[tuple[float, float]]) -> float:
    """The line of least squares."""
    times, values = zip(*samples, strict=True)
    return statistics.linear_regression(times, values).slope


def _sizes(status: str) -> dict[str, float]:
    lines = (line.split() for line in status.splitlines() if line.startswith(("VmHWM", "VmRSS")))
    return {name.rstrip(":"): int(size) / 1024 for name, size, _ in lines}
