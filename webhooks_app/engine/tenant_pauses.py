"""Which tenants start no requests, and until when: their receivers cost too much processor time, or made a sending thread stuck.

Such a receiver costs all others a second, and a tenant may have many of them.
"""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Mapping

from webhooks_app.engine.pauses import Pauses

#: How long a tenant pauses the first time, doubled each further time, and the longest pause (seconds).
_FIRST = 60.0
_LONGEST = 600.0
#: A tenant whose last pause ended longer ago than this (seconds) begins with the first pause again.
_FORGOTTEN_AFTER = 3600.0
#: For how long (seconds), and how many, stuck calls are remembered.
_REMEMBERED = 600.0
_MOST_REMEMBERED = 100


class TenantPauses:
    """The pauses of tenants. All times are monotonic seconds. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pauses = Pauses(_LONGEST, first=_FIRST, forgotten_after=_FORGOTTEN_AFTER)
        #: When a thread was stuck lately, and the tenants that were suspected, with their weights.
        self._stuck_calls: list[tuple[float, dict[uuid.UUID, float]]] = []

    def pause(self, tenant_id: uuid.UUID) -> None:
        """Pause the tenant, for longer than the last time. While it pauses, this changes nothing."""
        with self._lock:
            if self._pauses.last(tenant_id) <= time.monotonic():
                self._pauses.put(tenant_id)

    def until(self, tenant_id: uuid.UUID) -> float:
        """Return until when the tenant pauses; the past if it does not."""
        with self._lock:
            return self._pauses.last(tenant_id) or -math.inf

    def note_stuck_call(self, suspects: Mapping[uuid.UUID, float]) -> set[uuid.UUID]:
        """Note a stuck call and the suspected tenants with their weights (up to 1). Return the culprits: the suspect, if there is
        only one; else those whose recent weights add up to the most, if that takes more than one call."""
        now = time.monotonic()
        with self._lock:
            recent = [(at, tenants) for at, tenants in self._stuck_calls if at > now - _REMEMBERED]
            self._stuck_calls = [*recent[-_MOST_REMEMBERED:], (now, dict(suspects))]
            scores: dict[uuid.UUID, float] = defaultdict(float)
            for _, weights in self._stuck_calls:
                for tenant, weight in weights.items():
                    scores[tenant] += weight
        if len(suspects) == 1:
            return set(suspects)
        most = max((scores[tenant] for tenant in suspects), default=0.0)
        return {tenant for tenant in suspects if scores[tenant] == most} if most > 1 else set()


#: Those of this process: an engine that has replaced another one knows of its stuck calls.
tenant_pauses = TenantPauses()
