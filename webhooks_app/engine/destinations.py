"""Destinations: limits what one tenant sends to one host, however many endpoints it has there. Used under the window's lock.

A destination is a tenant and a host with its port. Two tenants with the same host are two destinations, so a host that many
customers share (an automation service, a chat) is no bottleneck. Requests for access tokens count at the host of the token
server: a delivery starts only if the token request that it needs may start, too. A queue that waits for its destination keeps
its lease for a moment only; then it is put off, so that it does not take the capacity of other queues.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from webhooks_app.core.addresses import DEFAULT_PORTS

if TYPE_CHECKING:
    from webhooks_app.engine.leased_queue import LeasedQueue

#: How far a destination may run ahead of an even pace (seconds): this many seconds' worth of requests may start at once.
_BURST = 1.0
#: A queue that has waited this long (seconds) for its destination, with nothing in flight, is put off.
_PATIENCE = 0.5
#: How long it is put off at least and at most (seconds), and how many are due again in a second: without a rate, and as long as
#: none of the requests in flight ends.
_SHORTEST, _LONGEST = 1.0, 60.0
_QUEUES_A_SECOND, _QUEUES_A_SECOND_IF_HANGING = 50, 5


def host_and_port(url: str) -> str:
    """Return where a checked URL leads to, as `host:port`."""
    try:
        parts = urlsplit(url)
        return f"{parts.hostname}:{parts.port or DEFAULT_PORTS.get(parts.scheme, 0)}"
    except ValueError:  # a row that was changed by hand
        return url


@dataclass(slots=True, eq=False)
class Destination:
    """What one tenant sends to one host. All times are monotonic seconds."""

    in_flight: int = 0
    #: When the next request may start at an even pace.
    next_slot: float = 0.0
    #: When the queue that was put off last is due again.
    booked_until: float = 0.0
    #: How many requests have ended; how many had at a time, and whether any had since the time before.
    ended: int = 0
    ended_before: int = 0
    looked_at: float = 0.0
    hangs: bool = False

    def end(self) -> None:
        self.in_flight -= 1
        self.ended += 1

    def note_whether_it_hangs(self, now: float) -> None:
        """Find out whether it hangs: whether none of its requests has ended for a while."""
        if now - self.looked_at >= _PATIENCE:
            self.hangs = self.ended == self.ended_before and self.in_flight > 0
            self.looked_at, self.ended_before = now, self.ended

    def is_idle(self, now: float) -> bool:
        return not self.in_flight and max(self.next_slot, self.booked_until) <= now


class Destinations:
    """The destinations of one engine. `most`: requests in flight; `rate`: requests a second; 0: no limit."""

    def __init__(self, most: int, rate: int) -> None:
        self._most = most
        self._rate = rate
        self._known: dict[tuple[uuid.UUID, str], Destination] = {}

    def of(self, queue: LeasedQueue) -> Destination:
        if queue.destination is None:
            queue.destination = self._at(queue, queue.host)
        return queue.destination

    def of_tokens(self, queue: LeasedQueue) -> Destination:
        """Return where the queue's access tokens come from."""
        return self._at(queue, queue.token_host)

    def holding(self, queue: LeasedQueue, now: float, *, fetches: bool) -> Destination | None:
        """Return the destination whose limits hold the queue's next request back. `fetches`: it needs a new access token."""
        own = self.of(queue)
        if not self.is_free(own, now):
            return own
        if fetches and not self.may_fetch(queue, now):
            return self.of_tokens(queue)
        return None

    def may_fetch(self, queue: LeasedQueue, now: float) -> bool:
        """Return whether a token request may start. If it goes to the host of the queue itself, the delivery that waits for the
        token keeps the place of both."""
        return queue.token_host == queue.host or self.is_free(self.of_tokens(queue), now)

    def is_free(self, destination: Destination, now: float) -> bool:
        free_at = self.free_at(destination)
        return free_at is not None and now >= free_at

    def free_at(self, destination: Destination) -> float | None:
        """Return from when on a request may start; None: not before one of those in flight has ended."""
        if self._most and destination.in_flight >= self._most:
            return None
        return destination.next_slot - _BURST if self._rate else 0.0

    def begin(self, destination: Destination, now: float) -> None:
        destination.in_flight += 1
        self.charge(destination, now)

    def charge(self, destination: Destination, now: float) -> None:
        """Count a request for the rate only."""
        if self._rate:
            destination.next_slot = max(destination.next_slot, now) + 1 / self._rate

    def undo(self, destination: Destination) -> None:
        """Give the turn back of a request that ended without having started."""
        if self._rate:
            destination.next_slot -= 1 / self._rate

    def put_off(self, queue: LeasedQueue, now: float) -> None:
        """Release a queue that has waited long for a destination that is still not free. Each is due again at a time of its own,
        at the pace at which the destination can serve them."""
        state = queue.sending
        destination = state.held_by
        if destination is None or self.is_free(destination, now):
            state.held_since = state.held_by = None
        if destination is None or state.held_since is None or now - state.held_since < _PATIENCE:
            return
        destination.note_whether_it_hangs(now)
        pace = 1 / (_QUEUES_A_SECOND_IF_HANGING if destination.hangs else self._rate or _QUEUES_A_SECOND)
        until = min(max(destination.booked_until, now + _SHORTEST) + pace, now + _LONGEST)
        destination.booked_until = max(destination.booked_until, until)
        state.next_slot = max(state.next_slot, until)
        queue.stop()

    def forget_in_flight(self) -> None:
        for destination in self._known.values():
            destination.in_flight = 0

    def forget_idle(self, leased: Collection[LeasedQueue], now: float) -> None:
        """Forget destinations without requests once there are many of them, except those of the leased queues."""
        if len(self._known) > 2 * len(leased) + 64:
            kept = {queue.destination for queue in leased}
            self._known = {key: one for key, one in self._known.items() if one in kept or not one.is_idle(now)}

    def _at(self, queue: LeasedQueue, host: str) -> Destination:
        key = queue.config.tenant_id, host
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Destination()
        return found
