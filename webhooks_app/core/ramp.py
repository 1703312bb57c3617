"""How fast a recovering endpoint gets what has waited for it. Pure."""

from __future__ import annotations

#: Requests a second right after the recovery, and how long until that has doubled (seconds).
FIRST_RATE = 20.0
DOUBLES_EVERY = 5.0
#: From then on there is no limit of this kind.
RAMP_SECONDS = 60.0


def ramp_rate(seconds: float) -> float | None:
    """Return the requests a second that an endpoint may get so long after its circuit breaker closed; None: no limit.

    A receiver that comes back is often still weak, and thousands of deliveries may wait for it.
    """
    if seconds >= RAMP_SECONDS:
        return None
    doublings = max(seconds, 0.0) / DOUBLES_EVERY
    return FIRST_RATE * float(2.0**doublings)
