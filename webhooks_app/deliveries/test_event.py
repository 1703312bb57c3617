"""Send a test event: one request to one endpoint, now, with its outcome at once.

It bypasses the queue: the user waits for the response, and no worker needs to run. It does not affect the endpoint's health
or statistics, is not retried, and is stored like any other delivery.
"""

from __future__ import annotations

import time
from dataclasses import replace
from queue import Empty, SimpleQueue

from webhooks_app.conf import settings
from webhooks_app.core.catalogue import EventType
from webhooks_app.core.circuit_breaker import Health
from webhooks_app.core.retry import Decision, DeliveryVerdict, Outcome, OutcomeKind
from webhooks_app.db import in_fresh_transaction
from webhooks_app.engine.access_tokens import access_token_in, access_token_request, without_content
from webhooks_app.engine.endpoint_config import load_endpoint_configs
from webhooks_app.engine.new_result import keep_response
from webhooks_app.engine.record_rows import attempt_row
from webhooks_app.engine.requests import build_request, outcome_of
from webhooks_app.engine.sql import store_for
from webhooks_app.engine.types import EndpointConfig, EventBody, QueuedDelivery, Result
from webhooks_app.events import payload
from webhooks_app.events.emit import EventInput
from webhooks_app.exceptions import ConflictingState, InvalidEvent, gettext_noop
from webhooks_app.locking import EndpointRef, key_of
from webhooks_app.log_thread import EngineThread
from webhooks_app.models import (
    TEST_SUBJECT,
    Attempt,
    Delivery,
    DeliveryStatus,
    Endpoint,
    Event,
    database_now,
)
from webhooks_app.models.database import database_alias
from webhooks_app.models.ids import new_id
from webhooks_app.tenants.audit import SYSTEM, record_audit_entry
from webhooks_app.tenants.one_at_a_time import one_at_a_time
from webhooks_app.tracebacks import hidden_locals
from webhooks_app.transport import Request, Response, open_transport, transport_options
from webhooks_app.transport.validation import KEPT_BUSY, failed

#: Seconds after the request's deadline in which the transport must have returned.
_MARGIN = 2.0


class _Example:
    """Marks the default, "the type's own example": null is valid data."""


EXAMPLE = _Example()


@hidden_locals()
def send_test_event(endpoint: EndpointRef, *, type: str, data: object = EXAMPLE, actor: str = SYSTEM) -> Attempt:  # noqa: A002
    """Send an event of this type to this endpoint alone, whatever it subscribes to, and return the attempt.

    `data`: replaces the type's example. Blocks until the response or the wire format's deadline, with no transaction open. An
    authentication with an access token is tested too: a new token is requested first, with the same deadline.
    Raises InvalidEvent; raises ConflictingState for a deleted endpoint, for one whose secret cannot be decrypted, and while
    another test of the same tenant is running.
    """
    row = Endpoint.objects.select_related("tenant").get(pk=key_of(endpoint))
    if row.is_deleted:
        raise ConflictingState(gettext_noop("This endpoint was deleted. Create a new one."))
    event = new_test_event(row, type, data)
    config = load_endpoint_configs([row.pk], database_alias())[row.pk]
    if config.fault:
        raise ConflictingState(gettext_noop("Nothing can be sent to this endpoint now; we have been told."))
    requests = 2 if _needs_token(config) else 1
    longest = requests * (config.wire_format.total_timeout + _MARGIN) + _MARGIN
    busy = gettext_noop("A test event of yours still waits for its answer. Send the next one after that.")
    with one_at_a_time("test", row.tenant_id, longest, busy):
        result = _send(_new_delivery(row, event), config)
    return in_fresh_transaction(lambda: _keep(row, event, result, actor))


def new_test_event(row: Endpoint, name: str, data: object) -> Event:
    """Return the unsaved, checked row of a test event for this endpoint alone. Raises InvalidEvent."""
    added = payload.added_types([name])
    chosen = _example_of(payload.event_type(name, added)) if isinstance(data, _Example) else data
    given = EventInput(type=name, data=chosen, tenant=row.tenant, subject=TEST_SUBJECT)
    event = payload.blank_event(given)
    payload.fill(event, given, added)
    event.is_test = True
    event.fanned_out_at = database_now()
    return event


def _example_of(type_: EventType) -> object:
    if type_.example is None and type_.schema is not None:
        raise InvalidEvent(
            gettext_noop("%(name)s has a schema and no example: give the data to send."), field="data", name=type_.name
        )
    return {} if type_.example is None else type_.example


def _new_delivery(row: Endpoint, event: Event) -> QueuedDelivery:
    now = database_now()
    body = EventBody(event.id, event.type, event.occurred_at, event.data)
    return QueuedDelivery(new_id(), row.pk, event.id, 0, 0, now, 0, event.size, event=body, started_at=now)


def _send(delivery: QueuedDelivery, config: EndpointConfig) -> Result:
    if config.wire_format.single_signature:
        delivery.tried = config.keys[:1]
    response, outcome = _authenticated_exchange(delivery, config)
    assert delivery.started_at is not None  # set on creation
    result = Result(
        delivery=delivery,
        config=config,
        outcome=outcome,
        started_at=delivery.started_at,
        duration=response.duration,
        decision=Decision(DeliveryVerdict.SUCCEEDED if outcome.succeeded else DeliveryVerdict.GIVE_UP),
        health=Health(),
        was=Health(),
        secret_id=delivery.tried[0].secret_id if delivery.tried else None,
    )
    keep_response(result, response)
    return result


def _authenticated_exchange(delivery: QueuedDelivery, config: EndpointConfig) -> tuple[Response, Outcome]:
    """Send the delivery, with a new access token if it needs one. Return the response and its outcome; without a token, what is
    left of the token server's response."""
    agent, seconds = settings().USER_AGENT, config.wire_format.total_timeout
    if _needs_token(config):
        response = _exchange(access_token_request(delivery, config, agent), seconds)
        token = access_token_in(response)
        if isinstance(token, Outcome):
            return without_content(response), token
        delivery.access_token, delivery.started_at = token, database_now()
    response = _exchange(build_request(delivery, config, agent), seconds)
    return response, outcome_of(response, database_now, config.wire_format.retry)


def _needs_token(config: EndpointConfig) -> bool:
    return config.authentication is not None and config.authentication.needs_token


def _exchange(request: Request, total_timeout: float) -> Response:
    """Send one request on a transport and a thread of its own: a call of the network library may last longer than the
    request's deadline, which the transport enforces otherwise."""
    transport = open_transport(replace(transport_options(), concurrency=1))
    answer: SimpleQueue[Response] = SimpleQueue()

    def send() -> None:
        try:
            transport.start(request)
            until = time.monotonic() + total_timeout + _MARGIN
            while time.monotonic() < until:
                for response in transport.wait(until - time.monotonic()):
                    return answer.put(response)
        finally:
            transport.close()

    EngineThread(send, "webhooks-test-event").start()
    try:
        return answer.get(timeout=total_timeout + _MARGIN)
    except Empty:
        return failed(request, OutcomeKind.PROTOCOL_ERROR, KEPT_BUSY, total_timeout)


def _keep(row: Endpoint, event: Event, result: Result, actor: str) -> Attempt:
    outcome, now = result.outcome, database_now()
    event.save(force_insert=True)
    Delivery.objects.create(
        id=result.delivery.delivery_id,
        tenant_id=row.tenant_id,
        event_id=event.pk,
        endpoint_id=row.pk,
        status=DeliveryStatus.SUCCEEDED if outcome.succeeded else DeliveryStatus.EXHAUSTED,
        attempts=1,
        next_attempt_at=now,
        expires_at=now,
        completed_at=now,
        last_outcome=outcome.kind.value,
        last_status=outcome.status,
    )
    attempt = attempt_row(result)
    store_for(database_alias()).insert_attempts([attempt])
    record_audit_entry(row.tenant_id, actor, "endpoint.tested", row.public_id, type=event.type)
    return Attempt.objects.get(pk=attempt.id)
