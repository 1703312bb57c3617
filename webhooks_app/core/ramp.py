"""The ramp-up: how fast a recovering endpoint gets its pending deliveries. Pure."""

from __future__ import annotations

#: Requests per second right after the recovery, and the time in which the rate doubles (seconds).
FIRST_RATE = 20.0
DOUBLES_EVERY = 5.0
#: After this time the limit ends.
RAMP_SECONDS = 60.0


def ramp_rate(seconds: float) -> float | None:
    """Return how many requests per second an endpoint may get this long after its circuit breaker closed; None: no limit.

    A receiver that comes back is often still weak, and thousands of deliveries may wait for it.
    """
    if seconds >= RAMP_SECONDS:
        return None
    doublings = max(seconds, 0.0) / DOUBLES_EVERY
    return FIRST_RATE * float(2.0**doublings)
