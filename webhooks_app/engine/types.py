"""Values that pass through one engine: EndpointConfig, PendingEvent, EventBody, QueuedDelivery, TokenFetch, Result."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from webhooks_app.core.authentication import AccessToken, Authentication
from webhooks_app.core.circuit_breaker import Health
from webhooks_app.core.client_tls import ClientTLS
from webhooks_app.core.endpoint_kind import EndpointKind
from webhooks_app.core.message import Message
from webhooks_app.core.retry import Decision, Outcome
from webhooks_app.core.signing import Key
from webhooks_app.engine.destinations import Destination
from webhooks_app.models.ids import public_id
from webhooks_app.wire_formats.base import WireFormat


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A live secret, opened. `secret_id` names its row; the text itself is not kept."""

    secret_id: uuid.UUID
    key: Key = field(repr=False)


@dataclass(slots=True, eq=False)
class EndpointConfig:
    """How to send to one endpoint, read again at every lease."""

    endpoint_id: uuid.UUID
    tenant_id: uuid.UUID
    url: str
    wire_format: WireFormat
    #: The tenant's own headers; values may be secrets.
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    #: The one to sign with first comes first. With a single-signature wire format the others are tried after a 4xx.
    keys: tuple[SigningKey, ...] = field(repr=False)
    max_in_flight: int
    rate_limit: int | None
    fifo: bool
    kind: EndpointKind = EndpointKind.URL
    authentication: Authentication | None = field(default=None, repr=False)
    tls: ClientTLS | None = None
    #: If not empty, the reason why nothing can be sent now (for example, a secret cannot be decrypted), for the log.
    fault: str = ""
    #: Whether an engine with other settings or code may be able to send: during a deployment, keys and wire formats differ.
    fault_is_local: bool = False


class PendingEvent(NamedTuple):
    """The columns of an event that the fan-out needs. Not a model, so that no host's `post_init` receiver runs; and without the
    data, which is read only if an endpoint has filters: 500 times 256 KiB is a lot."""

    id: uuid.UUID
    tenant_id: uuid.UUID
    tenant_uid: str
    type: str
    channels: list[str]
    callback_url: str
    created_at: datetime
    fan_out_position: uuid.UUID | None

    @property
    def public_id(self) -> str:
        return public_id("evt", self.id)


@dataclass(slots=True, eq=False, weakref_slot=True)
class EventBody:
    """One event's content, shared by all its deliveries in this engine. The body is built once per wire format."""

    id: uuid.UUID
    type: str
    occurred_at: datetime
    data: str = field(repr=False)
    message: Message = field(init=False, repr=False)
    _bodies: dict[str, bytes] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.message = Message(public_id("evt", self.id), self.type, self.occurred_at, self.data)

    def body(self, wire_format: WireFormat) -> bytes:
        """Return the request body, byte-identical in every attempt. Raises whatever the wire format's envelope raises."""
        built = self._bodies.get(wire_format.name)
        if built is None:
            built = self._bodies[wire_format.name] = wire_format.envelope(self.message)
        return built


@dataclass(slots=True, eq=False)
class QueuedDelivery:
    """One due delivery, read ahead of its request."""

    delivery_id: uuid.UUID
    endpoint_id: uuid.UUID
    event_id: uuid.UUID
    #: Requests made before this one, and the position in the retry policy.
    attempts: int
    retry_step: int
    next_attempt_at: datetime
    sequence: int
    #: Bytes of the event's data.
    size: int
    expires_at: datetime | None = None
    event: EventBody | None = None
    #: For single-signature wire formats: the keys that this attempt has signed with so far, its request's own last.
    tried: tuple[SigningKey, ...] = ()
    #: The access token of its request, if its endpoint's authentication needs one.
    access_token: AccessToken | None = field(default=None, repr=False)
    #: The receiver has refused the token of this attempt's first request; it is not replaced twice.
    token_replaced: bool = False
    #: When the request began, by the database's clock.
    started_at: datetime | None = None
    #: The span of its request, if tracing is enabled.
    span: object | None = None
    #: Suspected of crashing engines: it is sent with nothing else in flight.
    alone: bool = False
    #: How the window counts it while it is in flight: since when (monotonic), and in which of its rooms.
    in_flight_since: float | None = None
    slow: bool = False
    without_success: bool = False
    #: What its tenant sends to the same host, while it is in flight.
    destination: Destination | None = None
    #: The place of the token request that it starts, until that starts.
    token_destination: Destination | None = None

    @property
    def number(self) -> int:
        """Return the number of the delivery's next attempt: 1 for the first."""
        return self.attempts + 1


@dataclass(slots=True, eq=False)
class TokenFetch:
    """A token request in flight, and the deliveries that wait for the access token."""

    config: EndpointConfig
    waiting: list[QueuedDelivery] = field(default_factory=list)
    #: The destination whose limits count it, while it is in flight.
    destination: Destination | None = None

    @property
    def endpoint_id(self) -> uuid.UUID:
        return self.config.endpoint_id


@dataclass(slots=True, eq=False)
class Result:
    """One finished request (or a decision without one), ready to be recorded."""

    delivery: QueuedDelivery
    config: EndpointConfig
    outcome: Outcome
    started_at: datetime
    duration: float  # seconds
    #: None: an extra request inside one attempt (the first half of a rotation pair); only its row is written.
    decision: Decision | None
    #: The endpoint's health after and before the attempt.
    health: Health
    was: Health
    #: Takeovers of the queue from crashed engines, at the time of the lease.
    crash_takeovers: int = 0
    #: Why to disable the endpoint; empty: do not disable it.
    disable: str = ""
    #: True if this success closed the circuit breaker.
    recovered: bool = False
    secret_id: uuid.UUID | None = None
    #: True if this response shows that the receiver uses another of the endpoint's keys than expected.
    key_changed: bool = False
    address: str = ""
    http_version: str = ""
    response_headers: bytes = b""
    response_body: bytes = b""
    truncated: bool = False

    @property
    def was_sent(self) -> bool:
        """Return False for deliveries that fail without a request (expired, quarantined)."""
        return self.duration >= 0

    @property
    def finished_at(self) -> datetime:
        return self.started_at + timedelta(seconds=max(self.duration, 0.0))


@dataclass(slots=True)
class FannedOut:
    """The result of a fan-out: events finished or advanced, deliveries created, queues woken."""

    events: int = 0
    deliveries: int = 0
    woken: set[uuid.UUID] = field(default_factory=set)
    #: Queues to wake later: another transaction has locked the row, or the queue is FIFO and new deliveries have no sequence
    #: number yet.
    unwoken: set[uuid.UUID] = field(default_factory=set)
    #: Tenants with events that the general fan-out must handle.
    tenants_left: set[uuid.UUID] = field(default_factory=set)

    def add(self, other: FannedOut) -> None:
        self.events += other.events
        self.deliveries += other.deliveries
        self.woken |= other.woken
        self.unwoken |= other.unwoken
