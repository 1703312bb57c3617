"""The values that travel through one engine: how to send (Route), what to send (EventBody, Job), what became of it (Result)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from webhooks_app.core.health import Health
from webhooks_app.core.profile import Message, Profile
from webhooks_app.core.retry import Decision, Outcome
from webhooks_app.core.signing import Key
from webhooks_app.models.ids import public_id


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A live secret, opened. `secret_id` names its row; the text itself is not kept."""

    secret_id: uuid.UUID
    key: Key


@dataclass(slots=True, eq=False)
class Route:
    """How to send to one endpoint, read afresh at every lease."""

    endpoint_id: uuid.UUID
    tenant_id: uuid.UUID
    url: str
    profile: Profile
    #: The tenant's own headers.
    headers: tuple[tuple[str, str], ...]
    #: The one to sign with first comes first. With a single-signature profile the others are tried after a 4xx.
    keys: tuple[SigningKey, ...]
    max_in_flight: int
    rate_limit: int | None
    fifo: bool
    #: Behind a callback URL: never switched off, since each event names it anew.
    hidden: bool = False
    #: Leads to the inspector: nobody is told how it fares.
    playground: bool = False
    #: Not empty: nothing can be sent now (a secret cannot be opened); says why, for the log.
    fault: str = ""


@dataclass(slots=True, eq=False, weakref_slot=True)
class EventBody:
    """One event's content, shared by all its jobs in this engine, with the body built once a profile."""

    id: uuid.UUID
    type: str
    occurred_at: datetime
    data: str
    message: Message = field(init=False)
    _bodies: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.message = Message(public_id("evt", self.id), self.type, self.occurred_at, self.data)

    def body(self, profile: Profile) -> bytes:
        """The request body, byte-identical in every attempt. Raises what the profile's envelope raises."""
        built = self._bodies.get(profile.name)
        if built is None:
            built = self._bodies[profile.name] = profile.envelope(self.message)
        return built


@dataclass(slots=True, eq=False)
class Job:
    """One delivery that is due, read ahead of its request."""

    delivery_id: uuid.UUID
    endpoint_id: uuid.UUID
    event_id: uuid.UUID
    #: Requests made before this one, and the position in the retry policy.
    attempts: int
    step: int
    next_attempt_at: datetime
    sequence: int
    #: Bytes of the event's data.
    size: int
    event: EventBody | None = None
    #: For single-signature profiles: the keys that this attempt has signed with so far, its request's own last.
    tried: tuple[SigningKey, ...] = ()
    #: When the request began: the database's clock, and this machine's monotonic one.
    started_at: datetime | None = None

    @property
    def number(self) -> int:
        """Of the attempt that this job makes: 1 for the first."""
        return self.attempts + 1


@dataclass(slots=True, eq=False)
class Result:
    """One finished request (or a decision without one), ready to be recorded."""

    job: Job
    route: Route
    outcome: Outcome
    started_at: datetime
    duration: float  # seconds
    #: None: an extra request inside one attempt (the first half of a rotation pair); only its row is written.
    decision: Decision | None
    #: The endpoint's health after it, and whether that differs from what the database has.
    health: Health
    was: Health
    #: Takeovers of the queue since its last success.
    takeovers: int = 0
    #: Why the endpoint is to be switched off; empty: it is not.
    disable: str = ""
    secret_id: uuid.UUID | None = None
    #: True where this answer says that the receiver knows another of our keys than was thought.
    key_changed: bool = False
    address: str = ""
    http_version: str = ""
    response_headers: bytes = b""
    response_body: bytes = b""
    truncated: bool = False

    @property
    def was_sent(self) -> bool:
        """False for deliveries given up without a request (expired, quarantined)."""
        return self.duration >= 0

    @property
    def finished_at(self) -> datetime:
        return self.started_at + timedelta(seconds=max(self.duration, 0.0))
