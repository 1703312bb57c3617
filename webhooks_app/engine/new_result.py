"""Create the result of one attempt, which the sending thread passes to the database thread."""

from __future__ import annotations

from datetime import datetime

from webhooks_app.core.catalogue import registry
from webhooks_app.core.circuit_breaker import Health
from webhooks_app.core.endpoint_kind import EndpointKind
from webhooks_app.core.playground import without_body
from webhooks_app.core.retry import Decision, Outcome
from webhooks_app.engine.leased_queue import LeasedQueue
from webhooks_app.engine.types import QueuedDelivery, Result
from webhooks_app.transport import Response


def new_result(
    delivery: QueuedDelivery,
    queue: LeasedQueue,
    outcome: Outcome,
    response: Response | None,
    decision: Decision | None,
    *,
    was: Health,
    began: datetime,
) -> Result:
    """Return the result of the attempt that started at `began`. `was`: the endpoint's health before it. If the attempt succeeded
    and was signed with another key than the first, that key becomes the first one."""
    config = queue.config
    signed_with = delivery.tried[-1] if delivery.tried else None
    key_changed = outcome.succeeded and signed_with is not None and signed_with != config.keys[0]
    if key_changed and signed_with is not None:
        config.keys = (signed_with, *(key for key in config.keys if key != signed_with))
    result = Result(
        delivery=delivery,
        config=config,
        outcome=outcome,
        started_at=began,
        duration=response.duration if response is not None else 0.0,
        decision=decision,
        health=queue.health,
        was=was,
        crash_takeovers=queue.crash_takeovers,
        secret_id=signed_with.secret_id if signed_with else None,
        key_changed=key_changed,
    )
    if response is not None:
        keep_response(result, response)
    return result


def keep_response(result: Result, response: Response) -> None:
    """Copy the response into the result. A playground responds with the request: its body is left out if the type of the event
    has redacted fields."""
    result.address, result.http_version = response.address, response.http_version
    result.response_headers, result.response_body = response.headers, response.body
    result.truncated = response.truncated
    event = result.delivery.event
    if result.config.kind is EndpointKind.PLAYGROUND and event is not None and registry.redacted_fields(event.type):
        result.response_body, result.truncated = without_body(response.body), True
