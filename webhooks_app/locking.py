"""Lock rows in the one order that prevents deadlocks between user actions and engines:
tenant, then event, then queue, then endpoint, then secrets and deliveries."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from django.db.models import Model, QuerySet

from webhooks_app.db import in_fresh_transaction
from webhooks_app.exceptions import ConflictingState, gettext_noop
from webhooks_app.models import Endpoint, EndpointQueue
from webhooks_app.models.lookups import for_change

#: An endpoint, or its primary key.
EndpointRef = Endpoint | uuid.UUID
#: The maximum number of rows that one transaction writes: more would hold locks that engines wait for.
CHUNK = 2000


def key_of(row: Model | uuid.UUID) -> uuid.UUID:
    """Return the primary key of a row, or the key itself."""
    return row.pk if isinstance(row, Model) else row


def locked_endpoint(endpoint: EndpointRef, *, deleted_too: bool = False) -> tuple[Endpoint, EndpointQueue]:
    """Lock the endpoint and its queue, and return their current rows; needs a transaction.

    Raises ConflictingState if the endpoint is deleted, Endpoint.DoesNotExist if there is none.
    """
    key = key_of(endpoint)
    queue = EndpointQueue.objects.filter(endpoint_id=key).locked().first()
    row = for_change(Endpoint.objects.all()).get(pk=key)
    if row.is_deleted and not deleted_too:
        raise ConflictingState(gettext_noop("This endpoint was deleted. Create a new one."))
    assert queue is not None, "an endpoint without a queue row"
    return row, queue


def chunks(rows: QuerySet[Any], size: int = CHUNK) -> Iterator[list[uuid.UUID]]:
    """Yield the primary keys of the rows, ascending, in lists of at most `size`; each list is one query."""
    page = rows.order_by("pk")
    while True:
        keys = list(page.values_list("pk", flat=True)[:size])
        if keys:
            yield keys
        if len(keys) < size:
            return
        page = rows.order_by("pk").filter(pk__gt=keys[-1])


def in_chunks(work: Callable[[list[uuid.UUID]], int], rows: QuerySet[Any]) -> int:
    """Run `work` for the primary keys of the rows, in chunks with their own transactions; return the sum of its results."""
    return sum(in_fresh_transaction(partial(work, keys)) for keys in chunks(rows))
