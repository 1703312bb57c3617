"""Allow one of a tenant's expensive requests at a time: each keeps a web worker busy, and one tenant must not occupy all."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.cache import cache

from webhooks_app.exceptions import ConflictingState


@contextmanager
def one_at_a_time(name: str, tenant_id: uuid.UUID, seconds: float, refusal: str) -> Iterator[None]:
    """Hold the tenant's place for this kind of request. Raises ConflictingState with the text `refusal` if it is taken.

    The place is in Django's cache, like the API's rate limits, and expires after `seconds` if this process dies.
    """
    key, mine = f"webhooks_{name}_{tenant_id.hex}", uuid.uuid4().hex
    if not cache.add(key, mine, seconds):
        raise ConflictingState(refusal)
    try:
        yield
    finally:
        if cache.get(key) == mine:  # not after it has expired, and another request has taken the place
            cache.delete(key)
