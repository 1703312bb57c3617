"""The memory for event bodies that are read ahead or in flight: limited in total, and shared between tenants."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping

from webhooks_app.engine.options import EngineOptions


class BodyMemory:
    """The number of bytes of bodies that may still be read. `used`: bytes in memory by tenant.

    Each tenant may use a share of the total. A tenant with nothing in memory always gets one body, whatever the others use. What
    a tenant has beyond its share (one body that is larger) is not taken from the others' share.
    `full`: tenants whose next body did not fit the last time, and how many bytes they had in memory then. Reading for them
    is useless until some of these bytes are freed.
    """

    def __init__(
        self, options: EngineOptions, used: Counter[uuid.UUID], full: Mapping[uuid.UUID, int] | None = None
    ) -> None:
        self.full = {tenant_id: size for tenant_id, size in (full or {}).items() if 0 < size <= used[tenant_id]}
        self._used = used
        self._share = round(options.prefetch_bytes * options.tenant_share)
        self._room = options.prefetch_bytes - sum(min(size, self._share) for size in used.values())

    def has_room(self, tenant_id: uuid.UUID) -> bool:
        """Return whether anything may be read for this tenant."""
        used = self._used[tenant_id]
        return not used or (self._room > 0 and used < self._share and tenant_id not in self.full)

    def take(self, tenant_id: uuid.UUID, size: int) -> bool:
        """Reserve the bytes of one body. Return False if there is no room for it now."""
        fits = size <= self._room and self._used[tenant_id] + size <= self._share
        if self._used[tenant_id] and not fits:
            if self._used[tenant_id] + size > self._share:
                self.full[tenant_id] = self._used[tenant_id]
            return False
        self._room -= min(size, max(self._share - self._used[tenant_id], 0))
        self._used[tenant_id] += max(size, 1)
        return True
