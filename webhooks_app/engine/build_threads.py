"""Threads that build the requests of wire formats that call host code, which may be slow or never return.

A build that exceeds its deadline is abandoned: its thread stays busy until the host's code returns, and the result is
dropped. Such threads count towards the limits, so their number is bounded. They are daemon threads; nothing joins them.

The threads belong to the process, because they outlive their engine: a Celery process runs a new one every minute.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace

from django.db import close_old_connections, connections

from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.types import EndpointConfig, QueuedDelivery
from webhooks_app.log_thread import EngineThread
from webhooks_app.transport import Request

#: A thread without work ends after this time (seconds).
_IDLE = 5.0
#: The scopes in which threads are counted: all of them, by wire format, by wire format and tenant.
Scopes = tuple[None, str, tuple[str, uuid.UUID]]


class BuildTimeout(Exception):
    """The host's code did not return in time."""


@dataclass(slots=True, eq=False)
class Build:
    """One request that is built on a thread. `request` or `error` is set once `BuildThreads.take` has returned it."""

    delivery: QueuedDelivery
    work: Callable[[], Request]
    scopes: Scopes
    deadline: float
    #: Called in the thread, once it has ended.
    on_end: Callable[[Build], None]
    request: Request | None = None
    error: BaseException | None = None
    #: Processor seconds.
    cost: float = 0.0


class BuildThreads:
    """The builds of one engine, on threads of the process. All methods belong to its sending thread.

    `on_built` is called in other threads, and may raise. The limits hold for all engines of the process together; those that
    start a build at the same moment may exceed them by one each.
    """

    def __init__(self, options: EngineOptions, on_built: Callable[[], None]) -> None:
        self._seconds = options.build_seconds
        self._limits = (options.build_threads, options.build_threads_of_format, options.build_threads_of_tenant)
        self._on_built = on_built
        #: Builds that are not too late yet, oldest first; and those that have ended.
        self._open: dict[Build, None] = {}
        self._ended: queue.SimpleQueue[Build] = queue.SimpleQueue()

    def start(self, delivery: QueuedDelivery, config: EndpointConfig, work: Callable[[], Request]) -> None:
        """Run `work` on a thread. Needs a free thread. Raises RuntimeError if the system cannot start another one."""
        build = Build(delivery, work, _scopes(config), time.monotonic() + self._seconds, self._end)
        _pool.run(build)
        self._open[build] = None

    def must_wait(self, config: EndpointConfig) -> bool:
        """Return whether all threads that it may use are busy, and at least one of them is not late yet."""
        full = self._full(_scopes(config))
        return bool(full) and not any(map(_all_late, full))

    def are_lost(self, config: EndpointConfig) -> bool:
        """Return whether all threads that it may use are late, so that it is unknown when one becomes free."""
        return any(map(_all_late, self._full(_scopes(config))))

    def take(self) -> list[Build]:
        """Return the builds that have ended since the last call, and those that have just become too late."""
        taken = []
        while not self._ended.empty():
            build = self._ended.get_nowait()
            if build in self._open:
                del self._open[build]
                taken.append(build)
        now = time.monotonic()
        while self._open and (build := next(iter(self._open))).deadline <= now:
            del self._open[build]
            # A copy: the thread still writes into its own.
            error = BuildTimeout(f"the wire format did not return within {self._seconds:g} s")
            taken.append(replace(build, request=None, error=error, cost=0.0))
        return taken

    def _end(self, build: Build) -> None:
        self._ended.put(build)
        self._on_built()

    def _full(self, scopes: Scopes) -> list[list[Build]]:
        """Return the builds of each scope whose threads are all busy."""
        away = _pool.away()
        of_scopes = [[build for build in away if scope in build.scopes] for scope in scopes]
        return [builds for builds, limit in zip(of_scopes, self._limits, strict=True) if len(builds) >= limit]


def _all_late(builds: list[Build]) -> bool:
    now = time.monotonic()
    return all(build.deadline <= now for build in builds)


def _scopes(config: EndpointConfig) -> Scopes:
    name = config.wire_format.name
    return None, name, (name, config.tenant_id)


class _Pool:
    """Daemon threads that are started on demand and end when idle. Thread-safe."""

    def __init__(self) -> None:
        self._todo: queue.SimpleQueue[Build] = queue.SimpleQueue()
        self._lock = threading.Lock()
        #: Builds that have not ended, late ones too.
        self._away: set[Build] = set()
        #: Idle threads, less the builds that are queued for them.
        self._idle = 0

    def run(self, build: Build) -> None:
        with self._lock:
            if self._idle:
                self._idle -= 1
            else:
                EngineThread(self._work, "webhooks-builder").start()
            self._away.add(build)
            self._todo.put(build)

    def away(self) -> list[Build]:
        with self._lock:
            return list(self._away)

    def _work(self) -> None:
        while (build := self._next()) is not None:
            began = time.thread_time()
            try:
                build.request = build.work()
            except BaseException as error:  # noqa: BLE001 - whatever the host's code does, it is this request's
                build.error = error
            build.cost = time.thread_time() - began
            with contextlib.suppress(Exception):
                close_old_connections()  # of the host's code
            with self._lock:
                self._idle += 1
                self._away.discard(build)
            with contextlib.suppress(Exception):
                build.on_end(build)  # its engine may have ended
            del build  # and its event with it, while the thread is idle
        connections.close_all()

    def _next(self) -> Build | None:
        while True:
            try:
                return self._todo.get(timeout=_IDLE)
            except queue.Empty:
                with self._lock:
                    if self._todo.empty():
                        self._idle -= 1
                        return None


_pool = _Pool()


def _forget_threads() -> None:
    """A forked child has none of its parent's threads."""
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget_threads)
