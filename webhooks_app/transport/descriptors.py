"""Compute how many connections the file descriptors of this process allow."""

from __future__ import annotations

import os

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]

#: Descriptors reserved for the rest of the process, besides those already open: databases, brokers, files, name lookups.
RESERVE = 64
#: For every six connections in use, one idle connection may stay open for reuse.
_IN_USE_FOR_EACH_SPARE = 6
_MOST_SPARE = 128
#: Used if the open descriptors cannot be counted.
_GUESSED_OPEN = 64


def bounded_concurrency(wanted: int, limit: int | None, opened: int) -> int:
    """Return how many requests may be in flight: `wanted`, or fewer if `limit` descriptors are not enough.

    `opened` is how many the process already uses. `limit` is None if there is none.
    """
    if limit is None:
        return wanted
    free = max(limit - opened, 0)
    connections = max(free - RESERVE, free // 4)  # with a very low limit, the reserve would leave nothing
    return max(1, min(wanted, connections * _IN_USE_FOR_EACH_SPARE // (_IN_USE_FOR_EACH_SPARE + 1)))


def spare_connections(concurrency: int) -> int:
    """Return how many idle connections are kept besides those in use. `bounded_concurrency` leaves room for them."""
    return min(_MOST_SPARE, concurrency // _IN_USE_FOR_EACH_SPARE)


def soft_limit() -> int | None:
    """Return how many descriptors this process may have (`ulimit -n`); None if there is no limit."""
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
