"""TLS handshakes of the `requests` transport: how many compute at once, and whose turn it is.

A receiver can make a handshake cost much processor time (docs/decisions/0037), and each request has a thread. So a handshake is
done in steps: each reads what has arrived, computes, and needs a turn. Between two steps it waits for the network without one.
"""

from __future__ import annotations

import os
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from time import monotonic

from urllib3.util.wait import wait_for_read, wait_for_write

from webhooks_app.core.retry import OutcomeKind
from webhooks_app.cpu_time import thread_seconds
from webhooks_app.transport.base import OurFault
from webhooks_app.transport.cpu_budget import COSTLY_SECONDS, halved
from webhooks_app.transport.requests_job import Job, Stopped, current

#: Seconds between two times that what the owners have taken so far counts half.
_HALVED_EVERY = 0.25
_NO_TURN = OutcomeKind.NOT_SENT, "no processor was free for the TLS handshake in time", OurFault.CAPACITY


def processors() -> int:
    """Return how many processors this process may use; at least 2."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(usable, 2)


class HandshakeTurns:
    """The turns to compute. One owner has at most half of them at once, and those whose handshakes have taken least lately go
    first. Thread-safe."""

    def __init__(self, places: int) -> None:
        """`places`: how many jobs compute at once."""
        self._places = places
        self._lock = threading.Lock()
        self._busy: Counter[object] = Counter()
        #: The jobs that compute, and those that wait in the order of their arrival, each with what is set when its wait ends.
        self._at_work: set[Job] = set()
        self._waiting: dict[Job, threading.Event] = {}
        #: How long the steps of an owner's handshakes have taken lately (seconds of a processor).
        self._taken: dict[object, float] = {}
        self._halve_at = 0.0

    def take(self, job: Job, until: float) -> None:
        """Wait for a turn until then (`monotonic`), and take it. Raises Stopped if there is none, or if `end` was called."""
        with self._lock:
            if self._is_free(job.request.owner):  # else `_let_others_in` has given the place to a job that waits
                self._let_in(job)
                return
            has_turn = self._waiting[job] = threading.Event()
        late, job.late = job.late, _NO_TURN
        has_turn.wait(max(until - monotonic(), 0.0))
        job.late = late
        with self._lock:
            if job not in self._at_work:
                self._waiting.pop(job, None)
                raise Stopped(*_NO_TURN)

    def end(self, job: Job) -> None:
        """Let others compute in place of this job, even if it still does. If it waits, it waits no longer."""
        with self._lock:
            if (event := self._waiting.pop(job, None)) is not None:
                event.set()
            if job in self._at_work:
                self._at_work.discard(job)
                self._busy[job.request.owner] -= 1
                self._let_others_in()

    def note(self, owner: object, seconds: float) -> None:
        """Note that a step of this owner has taken this much processor time."""
        now = monotonic()
        with self._lock:
            if now >= self._halve_at:
                self._taken, self._halve_at = halved(self._taken), now + _HALVED_EVERY
            self._taken[owner] = self._taken.get(owner, 0.0) + seconds

    # Call these with the lock held.

    def _is_free(self, owner: object) -> bool:
        return len(self._at_work) < self._places and self._busy[owner] < max(self._places // 2, 1)

    def _let_in(self, job: Job) -> None:
        self._at_work.add(job)
        self._busy[job.request.owner] += 1

    def _let_others_in(self) -> None:
        while ready := [job for job in self._waiting if self._is_free(job.request.owner)]:
            job = min(ready, key=lambda job: self._taken.get(job.request.owner, 0.0))
            self._let_in(job)
            self._waiting.pop(job).set()


class SteppedSocket(ssl.SSLSocket):
    """A TLS socket whose handshake needs a turn for each step. A subclass sets `turns` and `charge`."""

    turns: HandshakeTurns
    #: Called in the job's thread after a step that took unusually long, with its processor time (seconds).
    charge: Callable[[Job, float], None]

    def do_handshake(self, block: bool = False) -> None:
        """Do the handshake within the socket's timeout. Raises TimeoutError, Stopped or the errors of `ssl`."""
        timeout = self.gettimeout()
        job = current.job
        if job is None or not timeout:
            super().do_handshake(block)
            return
        until = monotonic() + timeout
        self.settimeout(0.0)
        try:
            while (wait := self._step(job, until)) is not None:
                left = until - monotonic()
                if left <= 0 or not wait(self, left):
                    raise TimeoutError("the TLS handshake timed out")
        except Stopped:
            self.close()  # `ssl` does so after its own errors
            raise
        self.settimeout(timeout)

    def _step(self, job: Job, until: float) -> Callable[[ssl.SSLSocket, float], bool] | None:
        """Do what is possible without waiting. Return what waits until there is more to do; None if the handshake is complete."""
        self.turns.take(job, until)
        before = thread_seconds()
        try:
            super().do_handshake()
        except ssl.SSLWantReadError:
            return wait_for_read
        except ssl.SSLWantWriteError:
            return wait_for_write
        finally:
            spent = thread_seconds() - before
            self.turns.note(job.request.owner, spent)
            self.turns.end(job)
            if spent >= COSTLY_SECONDS:
                self.charge(job, spent)
        return None
