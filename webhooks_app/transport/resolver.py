"""Name resolution that never makes one name wait for another.

Neither of our HTTP libraries can be trusted with it: urllib3 resolves in the calling thread without any deadline, and
libcurl (since 8.20) in a pool of twenty threads, so that twenty names whose servers hang stop every other new
connection. Here each name that is being looked up has a thread of its own, up to a number above any window.
"""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

#: Seconds that an answer is used again. Short: a receiver that moves is followed, and each new connection is checked.
KEEP_SECONDS = 10.0
KEEP_ERROR_SECONDS = 1.0
#: Lookups at once. Each is a thread blocked in `getaddrinfo`, which costs little.
MAX_THREADS = 512
_MAX_ANSWERS = 10_000


@dataclass(frozen=True, slots=True)
class Answer:
    """All addresses of a name, in the order of preference; none, and why, where it does not resolve."""

    addresses: tuple[str, ...]
    error: str
    until: float


class Resolver:
    """Looks names up in threads. All methods may be called from any thread."""

    def __init__(self, on_answer: Callable[[], None] | None = None) -> None:
        self._on_answer = on_answer
        self._answers: dict[str, Answer] = {}
        self._pending: set[str] = set()
        self._todo: deque[str] = deque()
        self._threads = 0
        self._closed = False
        self._changed = threading.Condition()

    def lookup(self, host: str) -> Answer | None:
        """The answer if one is there. Else None; it is being looked up, and `on_answer` is called when it is there."""
        answer = self._fresh(host)
        if answer is not None:
            return answer
        with self._changed:
            answer = self._fresh(host)  # it may have come just now
            if answer is not None:
                return answer
            if host not in self._pending and not self._closed:
                self._pending.add(host)
                self._todo.append(host)
                self._hire()
        return None

    def resolve(self, host: str, seconds: float) -> Answer:
        """Wait for the answer. Raises TimeoutError when it takes longer than `seconds`."""
        until = monotonic() + seconds
        while (answer := self.lookup(host)) is None:
            with self._changed:
                answered = self._changed.wait_for(lambda: host not in self._pending, until - monotonic())
            if not answered or self._closed:
                raise TimeoutError(f"resolving {host} timed out")
        return answer

    def close(self) -> None:
        """Forget everything. Threads that are stuck end by themselves and call nobody."""
        with self._changed:
            self._closed = True
            self._todo.clear()
            self._pending.clear()
            self._changed.notify_all()

    def _fresh(self, host: str) -> Answer | None:
        answer = self._answers.get(host)
        return answer if answer is not None and answer.until > monotonic() else None

    def _hire(self) -> None:
        if self._threads >= MAX_THREADS:
            return  # those there take it when they are through
        try:
            threading.Thread(target=self._work, name="webhooks-resolver", daemon=True).start()
        except RuntimeError:  # no more threads to be had
            if not self._threads:
                self._keep(
                    self._todo.pop(), Answer((), "no thread to resolve the name", monotonic() + KEEP_ERROR_SECONDS)
                )
            return
        self._threads += 1

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._todo:
                    self._threads -= 1
                    return
                host = self._todo.popleft()
            answer = _ask(host)
            with self._changed:
                if self._closed:
                    return
                self._keep(host, answer)
            if self._on_answer is not None:
                self._on_answer()

    def _keep(self, host: str, answer: Answer) -> None:
        if len(self._answers) >= _MAX_ANSWERS:
            self._answers = {}
        self._answers[host] = answer
        self._pending.discard(host)
        self._changed.notify_all()


def _ask(host: str) -> Answer:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return Answer((), str(error) or type(error).__name__, monotonic() + KEEP_ERROR_SECONDS)
    addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
    return Answer(addresses, "" if addresses else "no address", monotonic() + KEEP_SECONDS)
