"""How the demo's endpoints behave. Shared by those who set them up and by the receiver that plays them."""

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Self


class Behaviour(StrEnum):
    """What an endpoint does with a request, once it has looked at the signature."""

    HEALTHY = "healthy"  # answers 200
    FLAKY = "flaky"  # answers 500 twice for each event, then 200
    BROKEN = "broken"  # always answers 500
    HANGING = "hanging"  # accepts the request and never answers

    @property
    def can_answer(self) -> bool:
        """Will it take an event in the end?"""
        return self in (Behaviour.HEALTHY, Behaviour.FLAKY)


#: Requests for one event that a flaky endpoint refuses before it takes it.
FLAKY_REFUSALS = 2


@dataclass(frozen=True)
class Played:
    """One endpoint that the receiver plays: its key is the path of the URL, without the slash."""

    key: str
    secret: str
    behaviour: Behaviour = Behaviour.HEALTHY


@dataclass
class Seen:
    """What one endpoint has seen so far."""

    #: webhook-id → requests answered with 200. More than one is a duplicate.
    accepted: dict[str, int] = field(default_factory=dict)
    #: webhook-id → requests refused with 500.
    refused: dict[str, int] = field(default_factory=dict)
    verified: int = 0
    unverified: int = 0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        return cls(**data)
