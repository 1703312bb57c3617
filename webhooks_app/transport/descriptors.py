"""Compute how many connections the file descriptors of this process allow."""

from __future__ import annotations

import contextlib
import os

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]

#: Descriptors reserved for the rest of the process, besides those already open: databases, brokers, files, name lookups.
RESERVE = 64
#: A request connects to two addresses at once if the first one is slow.
_FOR_EACH_REQUEST = 2
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
    return max(1, min(wanted, connections * _IN_USE_FOR_EACH_SPARE // (_FOR_EACH_REQUEST * _IN_USE_FOR_EACH_SPARE + 1)))


def descriptors_for(concurrency: int) -> int:
    """Return how many descriptors so many requests in flight need, with idle connections and the reserve."""
    return RESERVE + _FOR_EACH_REQUEST * concurrency + spare_connections(concurrency)


def raise_soft_limit(wanted: int) -> None:
    """Let this process have so many descriptors, as far as its hard limit allows. Many systems have a low soft limit for programs
    that use `select`, and a high hard limit for others."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):  # the system refuses
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


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
