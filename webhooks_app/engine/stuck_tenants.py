"""Tenants one of whose receivers has made a sending thread stuck. They start nothing for a while.

Such a receiver costs all others a second, and a tenant may have many of them. Kept in the process: an engine that has
replaced another one knows of its stuck calls.
"""

from __future__ import annotations

import math
import time
import uuid

#: How long a tenant pauses after its first stuck call, doubled with each further one, and the longest pause (seconds).
_FIRST = 60.0
_LONGEST = 600.0
#: A tenant without a stuck call for this time (seconds) begins anew.
_FORGOTTEN_AFTER = 3600.0


class StuckTenants:
    """The tenants and their pauses. All times are monotonic seconds. Thread-safe."""

    def __init__(self) -> None:
        #: Tenant → until when it pauses, and for how long it paused the last time. Replaced as a whole.
        self._pauses: dict[uuid.UUID, tuple[float, float]] = {}

    def pause(self, tenant_id: uuid.UUID) -> None:
        """Pause the tenant, for longer than the last time."""
        now = time.monotonic()
        known = {key: pause for key, pause in self._pauses.items() if pause[0] > now - _FORGOTTEN_AFTER}
        _, last = known.get(tenant_id, (0.0, _FIRST / 2))
        seconds = min(2 * last, _LONGEST)
        self._pauses = {**known, tenant_id: (now + seconds, seconds)}

    def pauses_until(self, tenant_id: uuid.UUID) -> float:
        return self._pauses.get(tenant_id, (-math.inf, 0.0))[0]


#: Those of this process.
stuck_tenants = StuckTenants()
