"""The sockets of the curl transport: libcurl says which ones it waits for, a selector polls them, libcurl handles them."""

from __future__ import annotations

import selectors
from collections.abc import Callable
from time import monotonic, thread_time
from typing import Any

import pycurl

from webhooks_app.transport.curl_guard import CallGuard
from webhooks_app.transport.wakeup import Wakeup

_EVENTS = {
    pycurl.POLL_IN: selectors.EVENT_READ,
    pycurl.POLL_OUT: selectors.EVENT_WRITE,
    pycurl.POLL_INOUT: selectors.EVENT_READ | selectors.EVENT_WRITE,
}
#: Bits for `socket_action`, by the selector's event mask.
_READY = (0, pycurl.CSELECT_IN, pycurl.CSELECT_OUT, pycurl.CSELECT_IN | pycurl.CSELECT_OUT)
#: A call in which libcurl works for so long (seconds of a processor) is blamed on its connection.
_BUSY_SECONDS = 0.3
#: `handle_ready` handles sockets for so long.
_TURN_SECONDS = 0.010


class CurlSockets:
    """The sockets of one `CurlMulti`, and the wakeup beside them. All methods belong to the transport's thread."""

    def __init__(
        self,
        multi: Any,
        wakeup: Wakeup,
        on_wakeup: Callable[[], None],
        keep_error: Callable[[BaseException], None],
        *,
        direct: bool = True,
    ) -> None:
        """`on_wakeup` is called when something was sent to `wakeup`; `keep_error` with what libcurl's callback must not
        raise. `direct`: connections lead to receivers and not to an egress proxy. Starts a thread, which `stop_guard` ends."""
        self._multi = multi
        self._wakeup = wakeup
        self._on_wakeup = on_wakeup
        self._keep_error = keep_error
        #: What the selector reported and `handle_ready` has not handled yet.
        self.ready: list[tuple[selectors.SelectorKey, int]] = []
        #: Sockets that the selector did not take, and why: libcurl would wait for them in vain.
        self.unwatched: dict[int, Exception] = {}
        #: Connections whose data kept libcurl busy in this turn: certificates can be made to take seconds each.
        self.busy: set[int] = set()
        self._watched: set[int] = set()
        self._selector = selectors.DefaultSelector()
        self._selector.register(wakeup, selectors.EVENT_READ)
        multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._guard = CallGuard(self._watched, direct=direct)

    def poll(self, pause: float) -> None:
        """Block for at most `pause` seconds until sockets are ready. Do not block where some are left from the last turn."""
        if not self.ready:
            self.ready = self._selector.select(pause)

    def handle_ready(self) -> bool:
        """Handle the sockets that are ready; after `_TURN_SECONDS` leave the others for the next turn, which handles them
        before it looks for new ones. Return whether the transport was woken."""
        ready, self.ready = self.ready, []
        self.busy.clear()
        woken = False
        worked = thread_time()
        until = monotonic() + _TURN_SECONDS
        for number, (key, mask) in enumerate(ready, start=1):
            if key.fileobj is self._wakeup:
                woken = b"w" in self._wakeup.take()
                self._on_wakeup()
            elif key.fd in self._watched:  # not closed by an event handled just before
                self.act(key.fd, _READY[mask])
            if monotonic() >= until:
                if thread_time() - worked >= _BUSY_SECONDS:
                    self.busy.add(key.fd)  # and not those before it, or the turn would have ended with them
                self.ready = ready[number:]
                break
        return woken

    def act(self, fd: int, what: int) -> None:
        """Let libcurl act on a socket, or on its timer."""
        self._guard.enter(fd)
        try:
            self._multi.socket_action(fd, what)
        finally:
            self._guard.leave()

    def remove(self, curl: Any) -> None:
        """Take a request out of libcurl, which may close its connection and read from it to do so."""
        self._guard.enter(-1)
        try:
            self._multi.remove_handle(curl)
        finally:
            self._guard.leave()

    def cut_flood(self, fd: int) -> None:
        """Cut off a connection that brings too much. libcurl is told of its end by the next `poll`."""
        if fd in self._watched:
            self._guard.cut_flood(fd)

    def flooded(self, curl: Any) -> bool:
        """Return whether this request's connection was cut off because it flooded this process."""
        return self._guard.has_cut((curl.getinfo(pycurl.LOCAL_IP), curl.getinfo(pycurl.LOCAL_PORT)))

    def stop_guard(self) -> None:
        """End the thread. `act` must not be called any more."""
        self._guard.close()

    def close(self) -> None:
        """Close the selector. Until the multi handle is closed, libcurl may still take sockets out of it."""
        self._selector.close()

    def _watch(self, what: int, fd: int, _multi: object, _data: object) -> None:
        """libcurl's callback. pycurl would print an exception and forget it; it is kept."""
        try:
            if what == pycurl.POLL_REMOVE:
                if fd in self._watched:
                    self._watched.discard(fd)
                    self._selector.unregister(fd)
            elif fd in self._watched:
                self._selector.modify(fd, _EVENTS[what])
            elif what in _EVENTS:
                self._selector.register(fd, _EVENTS[what])
                self._watched.add(fd)
        except Exception as error:  # noqa: BLE001 - it is the response of the requests on this socket
            self.unwatched[fd] = error
        except BaseException as error:  # noqa: BLE001 - raised by the transport's `wait`
            self._keep_error(error)
