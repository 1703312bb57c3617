"""The buffer of finished requests: the sending thread adds results, the database thread takes them."""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque

from webhooks_app.engine.types import Result


class ResultBuffer:
    """Results in order of arrival. Thread-safe: one lock guards all of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._results: deque[tuple[float, Result]] = deque()

    def __len__(self) -> int:
        return len(self._results)

    def put(self, result: Result) -> None:
        with self._lock:
            self._results.append((time.monotonic(), result))

    def take(self, most: int) -> list[Result]:
        """Remove and return up to `most` results, oldest first."""
        with self._lock:
            return [self._results.popleft()[1] for _ in range(min(most, len(self._results)))]

    def deliveries(self) -> set[uuid.UUID]:
        """Return the ids of the deliveries that have a result here."""
        with self._lock:
            return {result.delivery.delivery_id for _, result in self._results}

    def oldest_age(self) -> float:
        """Return for how many seconds the oldest result has waited; 0 if there is none."""
        with self._lock:
            return time.monotonic() - self._results[0][0] if self._results else 0.0
