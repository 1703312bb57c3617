"""Name resolution in which no name waits for another name, and no owner's requests wait for another owner's names.

Neither HTTP library can do this: urllib3 resolves in the calling thread without a timeout, and libcurl (since 8.20) in a pool
of twenty threads, so twenty names with hanging name servers block all other new connections. Here each lookup has its own
thread. The number of threads is limited, and one owner's names get only a share of them, so an owner with hundreds of hanging
names delays only those names.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from webhooks_app.log_thread import EngineThread
from webhooks_app.transport.base import OurFault
from webhooks_app.transport.faults import ThreadsExhausted, fault_of

#: For how many seconds a resolution is reused. It is short, so that address changes are noticed. Each new connection is checked.
KEEP_SECONDS = 10.0
KEEP_ERROR_SECONDS = 1.0
#: The maximum number of concurrent lookups. Each is a thread blocked in `getaddrinfo`, which costs little.
MAX_THREADS = 512
#: One owner's lookups use at most one in this many threads: a quarter.
OWNER_SHARE = 4
_MAX_RESOLUTIONS = 10_000
#: How many addresses of a name are used and checked for each request. A name may have thousands.
_MAX_ADDRESSES = 32


@dataclass(frozen=True, slots=True)
class Resolution:
    """The addresses of a name, in order of preference; or no address and the error."""

    addresses: tuple[str, ...]
    error: str
    until: float
    our_fault: str = ""  # an `OurFault` if the lookup failed on our side


@dataclass(slots=True)
class _Pending:
    """A name that is being looked up or waits for a thread. `owner` is the first that asked for it."""

    owner: object
    started: bool = False


class Resolver:
    """Looks up names in threads. All methods are thread-safe."""

    def __init__(self, on_resolved: Callable[[str], None] | None = None, max_threads: int = MAX_THREADS) -> None:
        self._on_resolved = on_resolved
        self._max_threads = max_threads
        self._share = max(1, max_threads // OWNER_SHARE)
        self._resolutions: dict[str, Resolution] = {}
        self._pending: dict[str, _Pending] = {}
        #: The names that wait for a thread, by owner. The first owner is next.
        self._waiting: OrderedDict[object, OrderedDict[str, None]] = OrderedDict()
        self._running: dict[object, int] = {}
        self._threads = 0
        self._closed = False
        self._changed = threading.Condition()

    def lookup(self, host: str, owner: object = None) -> Resolution | None:
        """Return the resolution if there is one. Otherwise return None, look up the name and call `on_resolved` afterwards.

        Names without an owner may use all threads.
        """
        resolution = self._fresh(host)
        if resolution is not None:
            return resolution
        with self._changed:
            resolution = self._fresh(host)  # it may just have arrived
            if resolution is not None or self._closed:
                return resolution
            pending = self._pending.get(host)
            if pending is None:
                self._enqueue(host, owner)
            elif not pending.started and pending.owner != owner and self._has_room(owner):
                self._dequeue(host, pending.owner)  # it waits behind another owner's names
                self._enqueue(host, owner)
            else:
                return None
            self._hire()
            return self._fresh(host)  # an error, if no thread could be started

    def resolve(self, host: str, seconds: float, owner: object = None) -> Resolution:
        """Wait for the resolution, and return it. Raises TimeoutError if it takes longer than `seconds`."""
        until = monotonic() + seconds
        while (resolution := self.lookup(host, owner)) is None:
            with self._changed:
                resolved = self._changed.wait_for(lambda: host not in self._pending, until - monotonic())
            if not resolved or self._closed:
                raise TimeoutError(f"resolving {host} timed out")
        return resolution

    def has_started(self, host: str) -> bool:
        """Return whether the lookup has started: False while the name waits for a thread."""
        with self._changed:
            pending = self._pending.get(host)
            return pending is None or pending.started

    def give_up(self, host: str) -> None:
        """Forget a name that no request waits for any more, unless its lookup has started."""
        with self._changed:
            pending = self._pending.get(host)
            if pending is not None and not pending.started:
                del self._pending[host]
                self._dequeue(host, pending.owner)

    def close(self) -> None:
        """Drop all state. Blocked threads end later, without calling `on_resolved`."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._pending.clear()
            self._changed.notify_all()

    def _fresh(self, host: str) -> Resolution | None:
        resolution = self._resolutions.get(host)
        return resolution if resolution is not None and resolution.until > monotonic() else None

    # Call everything below, except `_work`, with the lock held.

    def _enqueue(self, host: str, owner: object) -> None:
        self._waiting.setdefault(owner, OrderedDict())[host] = None  # first: TypeError for an unhashable owner
        self._pending[host] = _Pending(owner)

    def _dequeue(self, host: str, owner: object) -> None:
        names = self._waiting.get(owner)
        if names is not None:
            names.pop(host, None)
            if not names:
                del self._waiting[owner]

    def _has_room(self, owner: object) -> bool:
        return owner is None or self._running.get(owner, 0) < self._share

    def _next_owner(self) -> object:
        """Return the owner whose name is looked up next. Raises LookupError if all have to wait."""
        for owner in self._waiting:
            if self._has_room(owner):
                return owner
        raise LookupError

    def _take(self) -> str | None:
        """Return the name that a thread looks up next; None if there is none."""
        try:
            owner = self._next_owner()
        except LookupError:
            return None
        names = self._waiting[owner]
        host, _ = names.popitem(last=False)
        if names:
            self._waiting.move_to_end(owner)
        else:
            del self._waiting[owner]
        self._pending[host].started = True
        self._running[owner] = self._running.get(owner, 0) + 1
        return host

    def _hire(self) -> None:
        if self._threads >= self._max_threads:
            return  # the existing threads take the name when they are free
        try:
            self._next_owner()
        except LookupError:
            return
        try:
            EngineThread(self._work, "webhooks-resolver").start()
        except (RuntimeError, MemoryError):  # "can't start new thread"
            if not self._threads:  # no thread would ever take these names
                error = ThreadsExhausted("no thread can be started to resolve the name")
                for host in [host for names in self._waiting.values() for host in names]:
                    self._keep(host, _error(error))
                self._waiting.clear()
            return
        self._threads += 1

    def _work(self) -> None:
        host: str | None = None
        while True:
            with self._changed:
                host = None if self._closed else self._take()
                if host is None:
                    self._threads -= 1
                    return
                owner = self._pending[host].owner
            resolution = _ask(host)
            with self._changed:
                self._running[owner] -= 1
                if not self._running[owner]:
                    del self._running[owner]
                if not self._closed:
                    self._keep(host, resolution)
            if self._on_resolved is not None and not self._closed:
                with contextlib.suppress(Exception):
                    self._on_resolved(host)

    def _keep(self, host: str, resolution: Resolution) -> None:
        if len(self._resolutions) >= _MAX_RESOLUTIONS:
            self._resolutions = {}
        self._resolutions[host] = resolution
        self._pending.pop(host, None)
        self._changed.notify_all()


def _ask(host: str) -> Resolution:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))[:_MAX_ADDRESSES]
    except BaseException as error:  # noqa: BLE001 - it becomes this name's error; otherwise the name would stay pending
        return _error(error)
    return Resolution(addresses, "" if addresses else "no address", monotonic() + KEEP_SECONDS)


def _error(error: BaseException) -> Resolution:
    text = str(error) or type(error).__name__
    fault = fault_of(error) or (_fault_behind(error) if isinstance(error, socket.gaierror) else None)
    if fault is None and not isinstance(error, (OSError, UnicodeError)):
        fault, text = OurFault.RESOLVER, f"{type(error).__name__}: {error}"
    return Resolution((), text, monotonic() + KEEP_ERROR_SECONDS, str(fault or ""))


def _fault_behind(error: socket.gaierror) -> OurFault | None:
    """Return our fault behind a resolver error: without free descriptors, `getaddrinfo` says that the name does not exist."""
    if error.errno == socket.EAI_MEMORY:
        return OurFault.MEMORY
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as reason:
        return fault_of(reason)
    return None
