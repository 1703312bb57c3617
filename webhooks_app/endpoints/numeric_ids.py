"""Numeric ids of endpoints, for APIs whose ids are integers."""

from __future__ import annotations

import uuid
from collections.abc import Collection

from webhooks_app.db import in_one_transaction
from webhooks_app.models import Endpoint, EndpointNumber
from webhooks_app.models.lookups import any_of


def number_endpoints(endpoints: Collection[Endpoint]) -> dict[uuid.UUID, int]:
    """Return the number of each endpoint by primary key. Assign the missing ones, the lowest number to the oldest endpoint."""
    keys = {row.pk for row in endpoints}
    numbers = _numbers(keys)
    missing = keys.difference(numbers)
    return numbers | _give_numbers(missing) if missing else numbers


@in_one_transaction
def _give_numbers(keys: Collection[uuid.UUID]) -> dict[uuid.UUID, int]:
    rows = [EndpointNumber(endpoint_id=key) for key in sorted(keys)]
    EndpointNumber.objects.bulk_create(rows, ignore_conflicts=True)  # another process may be faster
    return _numbers(keys)


def _numbers(keys: Collection[uuid.UUID]) -> dict[uuid.UUID, int]:
    rows = EndpointNumber.objects.filter(any_of("endpoint_id", keys))
    return dict(rows.values_list("endpoint_id", "id"))
