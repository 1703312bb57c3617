"""The sockets of the curl transport: libcurl names those it waits for, a poller polls them, and libcurl handles them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from time import monotonic
from typing import Any

import pycurl

from webhooks_app.cpu_time import thread_seconds
from webhooks_app.transport.cpu_budget import COSTLY_SECONDS, COSTLY_TIMER_SECONDS, halved
from webhooks_app.transport.curl_guard import CallGuard
from webhooks_app.transport.curl_outcome import without_receivers_text
from webhooks_app.transport.poller import READ, WRITE, Poller
from webhooks_app.transport.socket_bytes import bytes_read, is_connected
from webhooks_app.transport.wakeup import Wakeup

_EVENTS = {
    pycurl.POLL_IN: READ,
    pycurl.POLL_OUT: WRITE,
    pycurl.POLL_INOUT: READ | WRITE,
}
#: Bits for `socket_action`, by the poller's events.
_READY = (0, pycurl.CSELECT_IN, pycurl.CSELECT_OUT, pycurl.CSELECT_IN | pycurl.CSELECT_OUT)
#: For how long `handle_ready` handles sockets (seconds).
_TURN_SECONDS = 0.010
#: This thread's processor time is measured again before a call if the last measurement is older (seconds): it costs as much as a
#: tenth of most calls.
_MEASURE_EVERY = 0.001
#: While some are left, the others are polled again after as many times what that took (with a thousand sockets that are ready,
#: milliseconds), and at most so many seconds: this thread may have been stopped meanwhile.
_POLL_PAUSES = 20
_LONGEST_PAUSE = 0.05


class CurlSockets:
    """The sockets of one `CurlMulti`, and the wakeup. Call all methods in the transport's thread."""

    def __init__(
        self,
        multi: Any,
        wakeup: Wakeup,
        on_wakeup: Callable[[], None],
        keep_error: Callable[[BaseException], None],
        on_costly: Callable[[float, int, Mapping[int, object], object], None],
        *,
        direct: bool = True,
    ) -> None:
        """Start a thread, which `stop_guard` ends.

        `on_wakeup` is called when something was sent to `wakeup`, and `keep_error` with exceptions that libcurl's callback must
        not raise. `on_costly` is called after a call that took unusually long: see `CostlyRequests.charge`. `direct`: connections
        lead to receivers and not to an egress proxy.
        """
        self._multi = multi
        self._on_costly = on_costly
        self._wakeup = wakeup
        self._on_wakeup = on_wakeup
        self._keep_error = keep_error
        #: Sockets that the poller reported and `handle_ready` has not handled yet, and what they are ready for.
        self.ready: list[tuple[int, int]] = []
        #: Sockets that the poller did not accept, and why: libcurl would wait for events that never come.
        self.unwatched: dict[int, Exception] = {}
        self.watched: set[int] = set()
        #: Whose request a socket was opened for, or used for last.
        self._owners: dict[int, object] = {}
        #: How long the calls for an owner's sockets have taken lately (seconds).
        self._taken: dict[object, float] = {}
        #: How many calls there were for an owner's sockets since `forget`.
        self._calls: dict[object, int] = {}
        #: The descriptors that were removed during the present call, or the last one, and their owners.
        self._removed: dict[int, object] = {}
        self._next_poll = 0.0
        #: When this thread's processor time was measured last, and what it was.
        self._measured = 0.0, 0.0
        self._direct = direct
        self._bytes_at_end: dict[int, int] = {}
        self._wakeup_fd = wakeup.fileno()
        self._poller = Poller()
        self._poller.register(self._wakeup_fd, READ)
        multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self.guard = CallGuard(self.watched, direct=direct)

    def poll(self, pause: float) -> None:
        """Block for at most `pause` seconds until sockets are ready. Do not block if some are left from the last turn."""
        if not self.ready:
            self.ready = self._poller.poll(pause)
            return
        began = monotonic()
        if began < self._next_poll:
            return
        # Hundreds of one owner may be ready again and again, and others must not wait for all of them.
        left = {fd for fd, _ in self.ready}
        self.ready += [one for one in self._poller.poll(0) if one[0] not in left]
        self.ready.sort(key=self._taken_lately)
        self._next_poll = began + min(_POLL_PAUSES * (monotonic() - began), _LONGEST_PAUSE)

    def _taken_lately(self, ready: tuple[int, int]) -> float:
        return self._taken.get(self._owners.get(ready[0]), 0.0)

    def bytes_at_end(self, fd: int) -> int:
        """Return how many bytes had been read when libcurl let go of this connection, to an egress proxy; 0 if unknown, and -1
        if it had not been connected."""
        return self._bytes_at_end.get(fd, -1)

    def note_opened(self, fd: int, owner: object) -> None:
        """Note whose request this socket is opened for."""
        self._bytes_at_end.pop(fd, None)
        self.note_owner(fd, owner)

    def note_owner(self, fd: int, owner: object) -> None:
        """Note whose request this open socket is opened for, or was used for."""
        self._owners[fd] = owner

    def forget(self) -> dict[object, int]:
        """Let what the owners' calls have taken so far count half. Call it four times a second. Return how many calls each owner
        had since."""
        self._taken = halved(self._taken)
        calls, self._calls = self._calls, {}
        return calls

    def handle_ready(self) -> bool:
        """Handle the sockets that are ready. Return whether the transport was woken.

        After `_TURN_SECONDS` the others are left for the next turn, see `poll`.
        """
        ready, self.ready = self.ready, []
        has_signal = False
        until = monotonic() + _TURN_SECONDS
        for number, (fd, events) in enumerate(ready, start=1):
            if fd == self._wakeup_fd:
                has_signal = True
            elif fd in self.watched:  # not closed by an event handled just before
                self.act(fd, _READY[events])
            if monotonic() >= until:
                self.ready = ready[number:]
                break
        if not has_signal:
            return False
        woken = b"w" in self._wakeup.take()
        self._on_wakeup()  # it may add requests, which start in the timer's call
        return woken

    def act(self, fd: int, what: int) -> None:
        """Let libcurl handle a socket or its timer. It also handles TLS records that it has read before from others."""
        self._removed.clear()
        self.guard.enter(fd)
        began = monotonic()
        if began - self._measured[0] > _MEASURE_EVERY:
            self._measured = began, thread_seconds()
        try:
            self._multi.socket_action(fd, what)
        finally:
            self.guard.leave()
        took = monotonic() - began
        if (owner := self._owners.get(fd)) is not None:
            self._taken[owner] = self._taken.get(owner, 0.0) + took
            self._calls[owner] = self._calls.get(owner, 0) + 1
        costly = COSTLY_TIMER_SECONDS if fd == pycurl.SOCKET_TIMEOUT else COSTLY_SECONDS
        if took >= costly and (spent := self._spent_since(began)) >= costly:
            self._on_costly(spent, fd, self._removed, owner)

    def _spent_since(self, began: float) -> float:
        """Return the least processor time (seconds) that a call has cost, which began then: its exact start was not measured."""
        at, seconds = self._measured
        return thread_seconds() - seconds - (began - at)

    def results(self) -> Iterator[tuple[Any, int, str]]:
        """Yield the requests that have ended, each with libcurl's code and message."""
        more = 1
        while more:
            more, good, bad = self._multi.info_read()
            for curl in good:
                yield curl, pycurl.E_OK, ""
            for curl, code, message in bad:
                yield curl, code, without_receivers_text(code, message)

    def remove(self, curl: Any) -> None:
        """Remove a request from libcurl, which may read from its connection and close it."""
        self.guard.enter(-1)
        try:
            self._multi.remove_handle(curl)
        finally:
            self.guard.leave()

    def cut_flood(self, fd: int) -> None:
        """Cut off a connection that sends too much data. libcurl notices the end after the next `poll`."""
        if fd in self.watched:
            self.guard.cut_flood(fd)

    def flooded(self, curl: Any) -> bool:
        """Return whether this request's connection was cut off because it flooded this process."""
        names = pycurl.LOCAL_IP, pycurl.LOCAL_PORT, pycurl.PRIMARY_IP, pycurl.PRIMARY_PORT
        ip, port, remote_ip, remote_port = map(curl.getinfo, names)
        return self.guard.has_cut((ip, port, remote_ip, remote_port))

    def stop_guard(self) -> None:
        """End the thread. Do not call `act` afterwards."""
        self.guard.close()

    def close(self) -> None:
        """Close the poller. Close the multi handle first: until then libcurl may remove sockets from the poller."""
        self._poller.close()

    def _watch(self, what: int, fd: int, _multi: object, _data: object) -> None:
        """Watch a socket for libcurl, which calls this. Exceptions are stored, because pycurl would only print them."""
        try:
            if what == pycurl.POLL_REMOVE:
                if fd in self.watched:
                    self.watched.discard(fd)
                    self._removed[fd] = self._owners.get(fd)
                    if not self._direct:
                        self._bytes_at_end[fd] = bytes_read(fd) if is_connected(fd) else -1
                    self._poller.unregister(fd)
            elif fd in self.watched:
                self._poller.modify(fd, _EVENTS[what])
            elif what in _EVENTS:
                self._poller.register(fd, _EVENTS[what])
                self.watched.add(fd)
        except Exception as error:  # noqa: BLE001 - it becomes the response of the requests on this socket
            self.unwatched[fd] = error
        except BaseException as error:  # noqa: BLE001 - raised by the transport's `wait`
            self._keep_error(error)
