"""TokenPlaces: counts requests for access tokens at the hosts of the token servers; see `destinations`.

A delivery that needs a new token reserves the place of the token request when it starts, so that it never waits for that place
while it keeps another one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from webhooks_app.engine.destinations import Destinations
from webhooks_app.engine.leased_queue import LeasedQueue
from webhooks_app.engine.types import EndpointConfig, QueuedDelivery, TokenFetch


class TokenPlaces:
    """The token requests of one engine, as its window counts them. `lock`: the window's. All times are monotonic seconds."""

    def __init__(self, destinations: Destinations, lock: threading.Lock) -> None:
        self._destinations = destinations
        self._lock = lock
        #: Whether a request to this endpoint must get a new access token first; set by the sending thread.
        self.lacks_token: Callable[[EndpointConfig], bool] = lambda config: False

    # --- called by the sending thread ------------------------------------------------------------------------------

    def begin(self, fetch: TokenFetch, delivery: QueuedDelivery, queue: LeasedQueue, now: float) -> bool:
        """Count a token request, for which the delivery waits. Return False if it may not start now."""
        with self._lock:
            allowed = delivery.token_destination is not None or self._reserve(delivery, queue, now)
            fetch.destination, delivery.token_destination = delivery.token_destination, None
            return allowed

    def share(self, fetch: TokenFetch, delivery: QueuedDelivery) -> None:
        """Let the delivery wait for a token request that another delivery has started."""
        with self._lock:
            self.release(delivery)
            fetch.waiting.append(delivery)

    def end(self, fetch: TokenFetch) -> None:
        """Stop counting a token request, which has ended."""
        with self._lock:
            if fetch.destination is not None:
                fetch.destination.end()
                fetch.destination = None

    # --- under the lock --------------------------------------------------------------------------------------------

    def is_needed(self, queue: LeasedQueue) -> bool:
        """Return whether the queue's next delivery starts a token request."""
        return bool(queue.token_host) and self.lacks_token(queue.config)

    def reserve_if_needed(self, delivery: QueuedDelivery, queue: LeasedQueue, now: float) -> None:
        """Count the token request of a delivery that starts now."""
        if self.is_needed(queue):
            self._reserve(delivery, queue, now)

    def release(self, delivery: QueuedDelivery) -> None:
        """Stop counting a token request that did not start."""
        if delivery.token_destination is not None:
            self._destinations.undo(delivery.token_destination)
            delivery.token_destination.end()
            delivery.token_destination = None

    def _reserve(self, delivery: QueuedDelivery, queue: LeasedQueue, now: float) -> bool:
        if not self._destinations.may_fetch(queue, now):
            return False
        destination = self._destinations.of_tokens(queue)
        if queue.token_host == queue.host:  # the delivery keeps the place of both
            self._destinations.charge(destination, now)
        else:
            self._destinations.begin(destination, now)
            delivery.token_destination = destination
        return True
