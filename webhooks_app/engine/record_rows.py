"""Convert results to database rows."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from webhooks_app import telemetry
from webhooks_app.core.retry import Decision, DeliveryVerdict, Outcome, OutcomeKind
from webhooks_app.engine.leased_queue import LeasedQueue
from webhooks_app.engine.sql.types import AttemptRow, HealthRow, Settlement
from webhooks_app.engine.types import QueuedDelivery, Result
from webhooks_app.models import DeliveryStatus
from webhooks_app.models.ids import new_id

Item = TypeVar("Item")

#: The maximum length of stored error texts of the network or a library.
_LONGEST_DETAIL = 2000

_STATUS = {
    DeliveryVerdict.SUCCEEDED: DeliveryStatus.SUCCEEDED,
    DeliveryVerdict.RETRY: DeliveryStatus.PENDING,
    DeliveryVerdict.GIVE_UP: DeliveryStatus.EXHAUSTED,
}


def give_up(queue: LeasedQueue, delivery: QueuedDelivery, kind: OutcomeKind, now: datetime) -> Result:
    """Return the result of a delivery that fails without a request."""
    decision = Decision(DeliveryVerdict.GIVE_UP)
    return Result(delivery, queue.config, Outcome(kind), now, -1.0, decision, queue.health, queue.health)


def without_response(result: Result, error: Exception) -> Result:
    """Return the same result without anything that the receiver chose."""
    outcome = replace(result.outcome, detail=f"the response could not be stored: {type(error).__name__}")
    return replace(
        result, outcome=outcome, address="", http_version="", response_headers=b"", response_body=b"", truncated=True
    )


def without(items: Sequence[Item], left_out: Collection[int]) -> list[Item]:
    """Return the items except those at these positions."""
    return [item for position, item in enumerate(items) if position not in left_out]


def attempt_row(result: Result) -> AttemptRow:
    """Return the row of one request."""
    delivery = result.delivery
    return AttemptRow(
        id=new_id(),
        tenant_id=result.config.tenant_id,
        delivery_id=delivery.delivery_id,
        endpoint_id=delivery.endpoint_id,
        number=delivery.number,
        started_at=result.started_at,
        duration_ms=round(result.duration * 1000, 3),
        outcome=result.outcome.kind.value,
        status=result.outcome.status,
        detail=_storable(result.outcome.detail[:_LONGEST_DETAIL]),
        address=_storable(result.address[:64]),
        http_version=_storable(result.http_version[:8]),
        secret_id=result.secret_id,
        url=result.config.url,
        response_headers=_storable(result.response_headers.decode("latin-1")),
        response_body=result.response_body,
        response_truncated=result.truncated,
    )


def _storable(text: str) -> str:
    """Return the text without NUL characters and lone surrogates, which PostgreSQL cannot store."""
    return (
        text
        if text.isascii() and "\x00" not in text
        else text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
    )


def settlement(result: Result, now: datetime) -> Settlement:
    """Return the delivery's new values. The result must have a decision."""
    delivery, decision = result.delivery, result.decision
    assert decision is not None
    done = decision.verdict is not DeliveryVerdict.RETRY
    return Settlement(
        id=delivery.delivery_id,
        attempts=delivery.attempts,
        status=_STATUS[decision.verdict].value,
        new_attempts=delivery.attempts + result.was_sent,
        retry_step=delivery.retry_step + (not done and decision.uses_step),
        next_attempt_at=decision.at or delivery.next_attempt_at,
        completed_at=now if done else None,
        outcome=result.outcome.kind.value,
        http_status=result.outcome.status,
    )


def rows_of(result: Result) -> set[str]:
    """Return the kinds of rows that recording this result writes; the notifications go with the other kinds."""
    kind = result.config.kind.value  # playgrounds have no notifications
    written = {
        "statistics": True,
        "attempt": result.was_sent,
        "health": health_changed(result),
        "signing secret": result.key_changed and result.secret_id is not None,
        f"disabling of {kind}": bool(result.disable),
        f"recovery of {kind}": result.outcome.succeeded and result.was.failing_since is not None,
    }
    decided = {f"{result.decision.verdict.value} of {kind}"} if result.decision else set()
    return decided | {name for name, is_written in written.items() if is_written}


# --- health ------------------------------------------------------------------------------------------------------------


def health_changed(result: Result) -> bool:
    """Return whether the endpoint's health must be written to the database."""
    if result.was_sent and result.crash_takeovers:
        return True  # the engine has survived its request
    return result.health.consecutive_failures != result.was.consecutive_failures


def health_rows(results: Sequence[Result]) -> list[HealthRow]:
    """Return the last health of each endpoint if it differs from the database's. Healthy endpoints cost nothing."""
    last: dict[uuid.UUID, HealthRow] = {}
    for result in results:
        endpoint_id = result.delivery.endpoint_id
        before = last.get(endpoint_id)
        if health_changed(result) or before is not None:
            cleared = result.was_sent or (before is not None and before.cleared)
            recovered_at = result.finished_at if result.recovered else (before.recovered_at if before else None)
            last[endpoint_id] = HealthRow(endpoint_id, result.health, cleared, recovered_at)
    return list(last.values())


# --- metrics ------------------------------------------------------------------------------------------------------------


def measured(result: Result) -> telemetry.RecordedRequest:
    """Return what the metrics record about a request."""
    return telemetry.RecordedRequest(
        result.outcome.kind.value,
        result.outcome.status,
        result.duration,
        telemetry.host_of(result.config.url),
        result.config.wire_format.name,
    )
