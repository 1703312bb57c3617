"""Wait until sockets are ready: with epoll where the system has it, which costs a fraction of what `selectors` costs."""

from __future__ import annotations

import contextlib
import select
import selectors

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class EpollPoller:
    """Linux. After an error or a hang-up a socket is ready for everything."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._masks = {READ: select.EPOLLIN, WRITE: select.EPOLLOUT, READ | WRITE: select.EPOLLIN | select.EPOLLOUT}
        #: What a descriptor is ready for, by the system's bits. There are few combinations of them.
        self._ready: dict[int, int] = {}

    def register(self, fd: int, events: int) -> None:
        self._epoll.register(fd, self._masks[events])

    def modify(self, fd: int, events: int) -> None:
        self._epoll.modify(fd, self._masks[events])

    def unregister(self, fd: int) -> None:
        with contextlib.suppress(OSError):  # it is closed
            self._epoll.unregister(fd)

    def poll(self, seconds: float) -> list[tuple[int, int]]:
        """Return the descriptors that are ready, and for what (READ, WRITE or both); wait for at most so many seconds."""
        return [(fd, self._ready.get(bits) or self._events(bits)) for fd, bits in self._epoll.poll(seconds)]

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

    def poll(self, seconds: float) -> list[tuple[int, int]]:
        """Return the descriptors that are ready, and for what; wait for at most so many seconds."""
        return [(key.fd, events) for key, events in self._selector.select(seconds)]

    def close(self) -> None:
        self._selector.close()


Poller: type[EpollPoller] | type[SelectorPoller] = EpollPoller if hasattr(select, "epoll") else SelectorPoller
