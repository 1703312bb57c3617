"""Compute for how many connections this process has file descriptors."""

from __future__ import annotations

import os

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]

#: Descriptors left to the rest of the process beside those it has open: databases, brokers, files, name lookups.
RESERVE = 64
#: For every six connections in use, one more may stay open without a request, so that it can be used again.
_IN_USE_FOR_EACH_SPARE = 6
_MOST_SPARE = 128
#: Where the open descriptors cannot be counted.
_GUESSED_OPEN = 64


def bounded_concurrency(wanted: int, limit: int | None, opened: int) -> int:
    """Return how many requests may be in flight: `wanted`, or fewer where `limit` descriptors are not enough.

    `opened` is how many the process uses already. `limit` is None where there is none.
    """
    if limit is None:
        return wanted
    free = max(limit - opened, 0)
    connections = max(free - RESERVE, free // 4)  # under a very low limit the reserve would leave nothing
    return max(1, min(wanted, connections * _IN_USE_FOR_EACH_SPARE // (_IN_USE_FOR_EACH_SPARE + 1)))


def spare_connections(concurrency: int) -> int:
    """Return how many idle connections are kept beside those in use. `bounded_concurrency` leaves room for them."""
    return min(_MOST_SPARE, concurrency // _IN_USE_FOR_EACH_SPARE)


def soft_limit() -> int | None:
    """Return how many descriptors this process may have (`ulimit -n`); None where there is no limit."""
    if resource is None:
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def open_descriptors() -> int:
    """Return how many descriptors this process has open."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            return len(os.listdir(folder))
        except OSError:
            continue
    return _GUESSED_OPEN
