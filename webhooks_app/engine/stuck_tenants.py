"""Tenants whose receivers keep the sending thread busy, or have made it stuck. They start nothing for a while.

Such a receiver costs all others a second, and a tenant may have many of them. Kept in the process: an engine that has
replaced another one knows of its stuck calls.
"""

from __future__ import annotations

import math
import time
import uuid
from collections import Counter
from collections.abc import Collection

#: How long a tenant pauses after its first stuck call, doubled with each further one, and the longest pause (seconds).
_FIRST = 60.0
_LONGEST = 600.0
#: A tenant without a stuck call for this time (seconds) begins anew.
_FORGOTTEN_AFTER = 3600.0
#: For how long (seconds), and how many, stuck calls are remembered.
_REMEMBERED = 600.0
_MOST_REMEMBERED = 100


class StuckTenants:
    """The tenants and their pauses. All times are monotonic seconds. Thread-safe."""

    def __init__(self) -> None:
        #: Tenant → until when it pauses, and for how long it paused the last time. Replaced as a whole.
        self._pauses: dict[uuid.UUID, tuple[float, float]] = {}
        #: When a thread was stuck lately, and the tenants that were suspected.
        self._suspects: list[tuple[float, frozenset[uuid.UUID]]] = []

    def pause(self, tenant_id: uuid.UUID) -> None:
        """Pause the tenant, for longer than the last time."""
        now = time.monotonic()
        known = {key: pause for key, pause in self._pauses.items() if pause[0] > now - _FORGOTTEN_AFTER}
        _, last = known.get(tenant_id, (0.0, _FIRST / 2))
        seconds = min(2 * last, _LONGEST)
        self._pauses = {**known, tenant_id: (now + seconds, seconds)}

    def culprits(self, suspects: Collection[uuid.UUID]) -> set[uuid.UUID]:
        """Return which of these tenants have made a thread stuck: the only one, or those that were suspected most often lately,
        and at least twice. Nobody is a culprit for having been there once."""
        now = time.monotonic()
        recent = [(at, tenants) for at, tenants in self._suspects if at > now - _REMEMBERED]
        self._suspects = [*recent[-_MOST_REMEMBERED:], (now, frozenset(suspects))]
        if len(suspects) < 2:
            return set(suspects)
        times = Counter(tenant for _, tenants in self._suspects for tenant in tenants)
        most = max(times[tenant] for tenant in suspects)
        return {tenant for tenant in suspects if times[tenant] == most} if most > 1 else set()

    def pauses_until(self, tenant_id: uuid.UUID) -> float:
        return self._pauses.get(tenant_id, (-math.inf, 0.0))[0]


#: Those of this process.
stuck_tenants = StuckTenants()
