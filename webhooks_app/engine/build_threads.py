"""Threads that build the requests of wire formats that call host code, which may be slow or never return.

A build that exceeds its deadline is abandoned: BuildTimeout is raised in the host's code, which ends loops of Python; what
waits in a call notices when the call returns. Until then its thread is stuck, and another thread can take its place. The number
of stuck threads is bounded: in total, for one wire format and for one tenant. They are daemon threads; nothing joins them.

The threads belong to the process, because they outlive their engine: a Celery process runs a new one every minute.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import queue
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from django.db import close_old_connections, connections
from django.utils.functional import Promise

from webhooks_app.cpu_time import thread_seconds
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.types import EndpointConfig, QueuedDelivery
from webhooks_app.log_thread import EngineThread, call_in_forked_children, end_if_forked
from webhooks_app.transport import Request
from webhooks_app.wire_formats.host import error_text

#: A thread without work ends after this time (seconds).
_IDLE = 5.0
#: A build that uses more processor time than this (seconds) may have kept the interpreter for as long, as a regular expression
#: that backtracks does. Nothing interrupts that, so its tenant pauses.
_COSTLY = 0.5
#: The scopes in which threads are counted: all of them, by wire format, by tenant.
Scopes = tuple[None, str, uuid.UUID]
#: Whose threads are stuck, by scope, for the log.
_WHOSE = ("all tenants", "the wire format %s", "tenant %s")
_STUCK = (
    "code of wire formats has not returned from %d requests of %s; their other requests with such code wait in this process. "
    "Set timeouts for what the code calls, and restart the process"
)


class BuildTimeout(Exception):
    """The host's code did not return in time. Also raised in that code."""


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
    #: The error and its text, which is computed in the thread: `__str__` is the host's code, too.
    error: BaseException | None = None
    error_text: str = ""
    #: The identifier of the thread while it runs the host's code, else 0. Changed under the pool's lock.
    thread: int = 0
    #: Processor seconds.
    cost: float = 0.0

    @property
    def tenant_id(self) -> uuid.UUID:
        return self.scopes[2]


class BuildThreads:
    """The builds of one engine, on threads of the process. All methods belong to its sending thread.

    `on_built` is called in other threads, and may raise. The limits hold for all engines of the process together; those that
    start a build at the same moment may exceed them by one each.
    """

    def __init__(self, options: EngineOptions, on_built: Callable[[], None]) -> None:
        self._seconds = options.build_seconds
        of_tenant = options.build_threads_of_tenant
        self._reserve = options.stuck_builds_reserve
        #: For each scope the maximum number of threads that are not late, and of all.
        self._limits = (
            (options.build_threads, options.stuck_builds),
            (options.build_threads_of_format, options.stuck_builds_of_format),
            (of_tenant, of_tenant),
        )
        self._on_built = on_built
        #: Builds that are not too late yet, oldest first; and those that have ended.
        self._open: dict[Build, None] = {}
        self._ended: queue.SimpleQueue[Build] = queue.SimpleQueue()
        self._costly: set[uuid.UUID] = set()

    def start(self, delivery: QueuedDelivery, config: EndpointConfig, work: Callable[[], Request]) -> None:
        """Run `work` on a thread. Needs a free thread. Raises RuntimeError if the system cannot start another one."""
        build = Build(delivery, work, _scopes(config), time.monotonic() + self._seconds, self._end)
        _pool.run(build)
        self._open[build] = None

    def must_wait(self, config: EndpointConfig) -> bool:
        """Return whether all threads that it may use are busy, and at least one of them is not late yet."""
        use = self._use(config)
        return any(is_full for is_full, _, _ in use) and not any(is_lost for _, is_lost, _ in use)

    def are_lost(self, config: EndpointConfig) -> bool:
        """Return whether all threads that it may use are late, so that it is unknown when one becomes free. The log then says
        so once a minute."""
        for whose, scope, (_, is_lost, late) in zip(_WHOSE, _scopes(config), self._use(config), strict=True):
            if is_lost:
                _faults.report(f"stuck {scope}", _STUCK, late, whose % scope if scope else whose)
                return True
        return False

    def take(self) -> list[Build]:
        """Return the builds that have ended since the last call, and those that have just become too late."""
        taken = []
        while not self._ended.empty():
            build = self._ended.get_nowait()
            if build.cost > _COSTLY:
                self._costly.add(build.tenant_id)
            if build in self._open:
                del self._open[build]
                taken.append(build)
        now = time.monotonic()
        while self._open and (build := next(iter(self._open))).deadline <= now:
            del self._open[build]
            _pool.interrupt(build)
            # A copy: the thread still writes into its own.
            error = BuildTimeout(f"the wire format did not return within {self._seconds:g} s")
            taken.append(replace(build, request=None, error=error, error_text=error_text(error), cost=0.0))
        return taken

    def take_costly(self) -> set[uuid.UUID]:
        """Return the tenants whose builds, late ones too, have cost too much processor time, among those that `take` has seen
        since the last call."""
        costly, self._costly = self._costly, set()
        return costly

    def _end(self, build: Build) -> None:
        self._ended.put(build)
        self._on_built()

    def _use(self, config: EndpointConfig) -> list[tuple[bool, bool, int]]:
        """Return for each scope whether all threads are busy, whether all are late, and how many are late."""
        now, away, scopes = time.monotonic(), _pool.away(), _scopes(config)
        #: For each thread of each scope whether it is late.
        threads = [[build.deadline <= now for build in away if scope in build.scopes] for scope in scopes]
        of_format = threads[1]
        found = []
        for scope, (at_once, most), late in zip(scopes, self._limits, threads, strict=True):
            reserve = self._reserve if scope is None else 0
            is_full = late.count(False) >= at_once or len(late) >= most - reserve * bool(of_format)
            is_lost = sum(late) >= most - reserve * any(of_format)
            found.append((is_full, is_lost, sum(late)))
        return found


def are_stuck(options: EngineOptions) -> bool:
    """Return whether the host's code has kept all threads for `options.stalled_after` that those wire formats may use for which
    this process has started one."""
    since = time.monotonic() - options.stalled_after
    stuck = Counter(build.scopes[1] for build in _pool.away() if build.deadline <= since)

    def has_none(name: str) -> bool:
        most = options.stuck_builds - (options.stuck_builds_reserve if stuck[name] else 0)
        return stuck[name] >= options.stuck_builds_of_format or stuck.total() >= most

    return bool(stuck) and all(map(has_none, _pool.wire_formats))


def _plain(request: Request) -> Request:
    """Return the request with texts and bytes of exactly these types. What is lazy, such as a lazy translation, is computed here
    and not in the sending thread. Raises TypeError for other types."""
    if not isinstance(request.body, bytes):
        raise TypeError(f"the envelope returned {type(request.body).__name__}, not bytes")
    headers = tuple((_plain_text(name), _plain_text(value)) for name, value in request.headers)
    return replace(request, body=bytes(request.body), headers=headers)


def _plain_text(value: object) -> str:
    if not isinstance(value, (str, Promise)):
        raise TypeError(f"a header's name or value is {type(value).__name__}, not text")
    return "".join(str(value))  # str() may return a subclass of str, and join does not


def _scopes(config: EndpointConfig) -> Scopes:
    return None, config.wire_format.name, config.tenant_id


class _Pool:
    """Daemon threads that are started on demand and end when idle. Thread-safe."""

    def __init__(self) -> None:
        self._todo: queue.SimpleQueue[Build] = queue.SimpleQueue()
        self._lock = threading.Lock()
        #: Builds that have not ended, late ones too.
        self._away: set[Build] = set()
        #: Idle threads, less the builds that are queued for them.
        self._idle = 0
        #: The names of those that had a build.
        self.wire_formats: frozenset[str] = frozenset()

    def run(self, build: Build) -> None:
        with self._lock:
            if self._idle:
                self._idle -= 1
            else:
                EngineThread(self._work, "webhooks-builder").start()
            self._away.add(build)
            self.wire_formats |= {build.scopes[1]}
            self._todo.put(build)

    def interrupt(self, build: Build) -> None:
        """Raise BuildTimeout in the thread while it runs the host's code: a loop of Python would take the interpreter from the
        engine's threads again and again."""
        with self._lock, contextlib.suppress(AttributeError):  # other Pythons than CPython cannot do it
            if build.thread:
                thread, error = ctypes.c_ulong(build.thread), ctypes.py_object(BuildTimeout)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, error)

    def away(self) -> list[Build]:
        with self._lock:
            return list(self._away)

    def _work(self) -> None:
        while (build := self._next()) is not None:
            self._build(build)
            with contextlib.suppress(Exception):
                close_old_connections()  # of the host's code
            with self._lock:
                self._idle += 1
                self._away.discard(build)
            with contextlib.suppress(Exception):
                build.on_end(build)  # its engine may have ended
            del build  # and its event with it, while the thread is idle
        connections.close_all()

    def _build(self, build: Build) -> None:
        """Run the host's code. BuildTimeout may be raised in it, or just after it."""
        process, began = os.getpid(), thread_seconds()
        try:
            try:
                build.thread = threading.get_ident()
                build.request = _plain(build.work())
            finally:
                if os.getpid() == process:  # in a child, nobody may be left to release the lock
                    with self._lock:
                        build.thread = 0
                # Python raises the exception of `interrupt` at the latest when a loop repeats: here, and not in the code below.
                for _ in range(2):
                    pass
        except BaseException as error:  # noqa: BLE001 - whatever the host's code does, it is this request's
            build.error, build.error_text = error, error_text(error)
        end_if_forked(process, build.error)
        build.cost = thread_seconds() - began

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
#: Of the process: an engine lives for a minute, and its successor has nothing new to say.
_faults = FaultLog()


def _forget_threads() -> None:
    global _pool
    _pool = _Pool()


call_in_forked_children(_forget_threads)
