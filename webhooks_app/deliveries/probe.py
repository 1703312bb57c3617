"""Probe: send one delivery that a user selected although its endpoint is failing.

The delivery becomes the next one sent to the endpoint, without waiting for the end of the backoff. Only our own backoff is
cut short: a wait that the receiver asked for (Retry-After) stays. The order of a FIFO endpoint stays too: only its head can
be sent. A failing endpoint still gets one request at a time.
"""

from __future__ import annotations

from datetime import timedelta

from webhooks_app.core.circuit_breaker import longest_own_hold
from webhooks_app.engine.queue_due import make_queues_due
from webhooks_app.models import BLOCKED, NOT_HELD, Delivery, Endpoint, EndpointQueue
from webhooks_app.wire_formats import get_wire_format

#: Place it this far before the delivery that has been due longest: engines take that one first.
_BEFORE = timedelta(milliseconds=1)


def send_as_next_probe(row: Delivery, endpoint: Endpoint) -> None:
    """Send this pending, due delivery before the others of a failing endpoint; immediately if only our own backoff delays it.

    Needs a transaction, and the queue row must be locked.
    """
    queue = EndpointQueue.objects.get(pk=endpoint.pk)
    if not queue.consecutive_failures or queue.not_before == BLOCKED or not _may_be_next(row, endpoint):
        return
    if _is_our_own_hold(queue, endpoint):
        queue.not_before = NOT_HELD
        queue.save(update_fields=["not_before"])
        make_queues_due([endpoint.pk])


def _may_be_next(row: Delivery, endpoint: Endpoint) -> bool:
    """Put the delivery first and return True. For a FIFO endpoint nothing is moved; return whether it is the head."""
    if endpoint.fifo:
        return Delivery.objects.is_head(row)
    waiting = Delivery.objects.pending().filter(endpoint_id=endpoint.pk)
    first = waiting.exclude(pk=row.pk).by_queue().values_list("next_attempt_at", flat=True).first()
    if first is not None:
        waiting.filter(pk=row.pk, next_attempt_at__gte=first).update(next_attempt_at=first - _BEFORE)
    return True


def _is_our_own_hold(queue: EndpointQueue, endpoint: Endpoint) -> bool:
    last = queue.last_failure_at
    return last is not None and queue.not_before <= last + longest_own_hold(
        queue.health, get_wire_format(endpoint.wire_format).retry
    )
