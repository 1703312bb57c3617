"""Wait until sockets are ready: with epoll if the system has it, which costs a fraction of what `selectors` costs."""

from __future__ import annotations

import contextlib
import select
import selectors

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class EpollPoller:
    """Linux. After an error or a hang-up a socket is ready for everything.

    libcurl watches a kept connection again for each request. So `unregister` leaves it registered until it is ready: most are
    watched again before that, and a request costs two system calls less.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        #: What each descriptor is registered for, and those of them that are not watched any more.
        self._registered: dict[int, int] = {}
        self._unwatched: set[int] = set()
        self._masks = {READ: select.EPOLLIN, WRITE: select.EPOLLOUT, READ | WRITE: select.EPOLLIN | select.EPOLLOUT}
        #: What a descriptor is ready for, by the system's bits. There are few combinations of them.
        self._ready: dict[int, int] = {}

    def register(self, fd: int, events: int) -> None:
        """Watch a descriptor. Call `forget` first if it may stand for another socket than before."""
        if fd in self._registered:
            if self._registered[fd] != events:
                self.modify(fd, events)
            self._unwatched.discard(fd)
        else:
            self._epoll.register(fd, self._masks[events])
            self._registered[fd] = events

    def modify(self, fd: int, events: int) -> None:
        self._epoll.modify(fd, self._masks[events])
        self._registered[fd] = events

    def unregister(self, fd: int) -> None:
        self._unwatched.add(fd)

    def forget(self, fd: int) -> None:
        """Note that an unwatched descriptor belongs to a new socket. The system has forgotten the previous one, unless it
        was duplicated."""
        self._unwatched.discard(fd)
        if self._registered.pop(fd, None) is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(fd)

    def poll(self, seconds: float) -> list[tuple[int, int]]:
        """Return the descriptors that are ready, and for what (READ, WRITE or both); wait for at most so many seconds."""
        ready = self._epoll.poll(seconds)
        if self._unwatched:
            unwatched = self._unwatched.intersection([fd for fd, _ in ready])
            if unwatched:
                ready = [one for one in ready if one[0] not in unwatched]
                for fd in unwatched:
                    self.forget(fd)
        return [(fd, self._ready.get(bits) or self._events(bits)) for fd, bits in ready]

    def close(self) -> None:
        self._epoll.close()

    def _events(self, bits: int) -> int:
        events = (READ if bits & ~select.EPOLLOUT else 0) | (WRITE if bits & ~select.EPOLLIN else 0)
        self._ready[bits] = events
        return events


class SelectorPoller:
    """Other systems."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def register(self, fd: int, events: int) -> None:
        self._selector.register(fd, events)

    def modify(self, fd: int, events: int) -> None:
        self._selector.modify(fd, events)

    def unregister(self, fd: int) -> None:
        self._selector.unregister(fd)

    def forget(self, fd: int) -> None:
        pass

    def poll(self, seconds: float) -> list[tuple[int, int]]:
        """Return the descriptors that are ready, and for what; wait for at most so many seconds."""
        return [(key.fd, events) for key, events in self._selector.select(seconds)]

    def close(self) -> None:
        self._selector.close()


Poller: type[EpollPoller] | type[SelectorPoller] = EpollPoller if hasattr(select, "epoll") else SelectorPoller
