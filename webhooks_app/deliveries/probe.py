"""Probe: a person wants one delivery tried although its endpoint is failing. It becomes the next one that the endpoint is
tried with, and the endpoint does not wait for the end of its back-off.

Only a wait of our own is cut short. One that reaches beyond it was asked for by the receiver (Retry-After) and stays, as does
the order of a FIFO endpoint: there the head alone can be tried. How many requests a failing endpoint gets at once stays as it
is: one.
"""

from __future__ import annotations

from datetime import timedelta

from webhooks_app.core.circuit_breaker import longest_own_hold
from webhooks_app.engine.queue_wakeup import wake
from webhooks_app.models import IDLE, Delivery, Endpoint, EndpointQueue, database_now
from webhooks_app.models.database import database_alias
from webhooks_app.wire_formats import get_wire_format

#: So far before the delivery that is due longest: engines take what is due longest first.
_BEFORE = timedelta(milliseconds=1)


def send_as_next_probe(row: Delivery, endpoint: Endpoint) -> None:
    """Have this delivery, which is pending and due, tried before the others of its endpoint if that is failing, and now if it is
    held back by our own back-off. Needs a transaction, and the queue row locked."""
    queue = EndpointQueue.objects.get(pk=endpoint.pk)
    if not queue.consecutive_failures or queue.not_before == IDLE or not _may_be_next(row, endpoint):
        return
    if _is_our_own_hold(queue, endpoint):
        queue.not_before = database_now()
        queue.save(update_fields=["not_before"])
        wake([endpoint.pk], queue.not_before, using=database_alias())


def _may_be_next(row: Delivery, endpoint: Endpoint) -> bool:
    """Put it first; in a FIFO endpoint's order nothing is moved, and only the head is next."""
    waiting = Delivery.objects.pending().filter(endpoint_id=endpoint.pk)
    if endpoint.fifo:
        return waiting.order_by("sequence", "id").values_list("pk", flat=True).first() == row.pk
    first = waiting.exclude(pk=row.pk).by_queue().values_list("next_attempt_at", flat=True).first()
    if first is not None:
        waiting.filter(pk=row.pk, next_attempt_at__gte=first).update(next_attempt_at=first - _BEFORE)
    return True


def _is_our_own_hold(queue: EndpointQueue, endpoint: Endpoint) -> bool:
    last = queue.last_failure_at
    return last is not None and queue.not_before <= last + longest_own_hold(
        queue.health, get_wire_format(endpoint.wire_format).retry
    )
