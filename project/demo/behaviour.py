"""The behaviour of the demo's endpoints, shared by the setup and the receiver that simulates them."""

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Self


class Behaviour(StrEnum):
    """What an endpoint does with a request after it has checked the signature."""

    HEALTHY = "healthy"  # responds with 200
    FLAKY = "flaky"  # responds with 500 twice for each event, then 200
    BROKEN = "broken"  # always responds with 500
    HANGING = "hanging"  # accepts the request and never responds

    @property
    def can_answer(self) -> bool:
        """Return whether it accepts an event in the end."""
        return self in (Behaviour.HEALTHY, Behaviour.FLAKY)


#: The number of requests for one event that a flaky endpoint refuses before it accepts the event.
FLAKY_REFUSALS = 2


@dataclass(frozen=True)
class Played:
    """An endpoint that the receiver simulates: its key is the path of the URL, without the slash."""

    key: str
    secret: str
    behaviour: Behaviour = Behaviour.HEALTHY


@dataclass
class Seen:
    """What one endpoint has received so far."""

    #: webhook-id → requests that got the response 200. More than one is a duplicate.
    accepted: dict[str, int] = field(default_factory=dict)
    #: webhook-id → requests that got the response 500.
    refused: dict[str, int] = field(default_factory=dict)
    verified: int = 0
    unverified: int = 0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        return cls(**data)
