"""Build the signed request of one attempt, and interpret its response."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from webhooks_app import telemetry
from webhooks_app.core.message import Message
from webhooks_app.core.retry import Outcome, OutcomeKind, RetryPolicy, RuleEffect, outcome_of_status
from webhooks_app.core.retry_after import parse_retry_after
from webhooks_app.core.signing import Headers, Key
from webhooks_app.engine.types import EndpointConfig, QueuedDelivery, SigningKey
from webhooks_app.log_thread import engine_logger
from webhooks_app.transport import Request, Response
from webhooks_app.wire_formats.base import WireFormat

logger = engine_logger(__name__)


def untried_keys(delivery: QueuedDelivery, config: EndpointConfig) -> list[SigningKey]:
    """Return the keys that this attempt has not signed with. Compares keys, not positions: while several requests are in
    flight, the response to another one may change the order."""
    return [key for key in config.keys if key not in delivery.tried]


def build_request(delivery: QueuedDelivery, config: EndpointConfig, agent: str) -> Request:
    """Return the signed request of one attempt. The body is the event's; timestamp and signature are this attempt's.

    Raises whatever the wire format's envelope, headers and scheme raise, and LookupError if the event is gone or erased.
    """
    if delivery.event is None:
        raise LookupError(f"the row of event {delivery.event_id} is gone or erased")
    wire_format, message = config.wire_format, delivery.event.message
    body = delivery.event.body(wire_format)
    if wire_format.warn_body_bytes is not None and len(body) > wire_format.warn_body_bytes:
        logger.warning(
            "webhooks: %s has a body of %d bytes; many receivers of %s stop at %d",
            message.id,
            len(body),
            wire_format.title,
            wire_format.warn_body_bytes,
        )
    started = delivery.started_at or datetime.now(UTC)
    signing_keys = delivery.tried[-1:] if wire_format.single_signature else config.keys
    keys = tuple(signing.key for signing in signing_keys)
    signature = signature_headers(wire_format, message, body, started, keys)
    own = config.headers
    if config.authentication is not None:
        own = (*own, config.authentication.header(delivery.access_token))
    headers = headers_in_order(wire_format, message, agent, own, signature)
    return Request(
        delivery,
        config.url,
        headers,
        body,
        wire_format.connect_timeout,
        wire_format.total_timeout,
        owner=config.tenant_id,
        tls=config.tls,
    )


def signature_headers(
    wire_format: WireFormat, message: Message, body: bytes, started: datetime, keys: tuple[Key, ...]
) -> Headers:
    """Return the signature headers of the attempt that began at `started`."""
    timestamp = int(started.timestamp())
    return wire_format.scheme.headers(message_id=message.id, timestamp=timestamp, body=body, keys=keys)


def headers_in_order(
    wire_format: WireFormat, message: Message, agent: str, own: Headers, signature: Headers
) -> Headers:
    """Return all headers of a request except those that the transport adds. `own`: the tenant's headers and
    its authentication."""
    return (
        ("Content-Type", "application/json"),
        ("User-Agent", agent),
        *own,
        *wire_format.extra_headers(message),
        *signature,
    )


def traced(request: Request, delivery: QueuedDelivery, *, tells_receiver: bool) -> Request:
    """Start the request's span. `tells_receiver`: the request names it in a `traceparent` header."""
    host = telemetry.host_of(request.url)
    ids = (delivery.delivery_id, delivery.event_id, delivery.endpoint_id)
    delivery.span = telemetry.start_request_span(*ids, delivery.number, host)
    traceparent = telemetry.traceparent(delivery.span) if tells_receiver else ""
    return replace(request, headers=(*request.headers, ("traceparent", traceparent))) if traceparent else request


def outcome_of(response: Response, now: Callable[[], datetime], policy: RetryPolicy) -> Outcome:
    """Return the outcome of a response. `now`: called if the response names a time. Retry-After is read only if the policy
    honours it."""
    if response.status is None:
        return Outcome(response.failure or OutcomeKind.PROTOCOL_ERROR, detail=response.detail)
    outcome = outcome_of_status(response.status)
    if not outcome.succeeded and policy.rule_for(outcome, RuleEffect.RETRY_AFTER):
        outcome = outcome_of_status(response.status, parse_retry_after(response.header("retry-after"), now()))
    return replace(outcome, detail=response.detail) if response.detail else outcome


def another_key_may_help(delivery: QueuedDelivery, config: EndpointConfig, outcome: Outcome) -> bool:
    """Return whether to try the next live secret at once: after a 4xx during a rotation, if only one signature is sent.
    429 is excluded: it means "too many requests", not a wrong signature."""
    if outcome.kind is not OutcomeKind.CLIENT_ERROR or outcome.status == 429:
        return False
    return config.wire_format.single_signature and len(delivery.tried) == 1 and bool(untried_keys(delivery, config))


def age_of(delivery: QueuedDelivery, config: EndpointConfig, now: datetime) -> timedelta:
    """Return the time since the delivery was created, replayed or given more time."""
    if delivery.expires_at is None:
        return timedelta(0)
    return now - delivery.expires_at + config.wire_format.retry.max_age
