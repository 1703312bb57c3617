"""The plan of a one-shot demo: customers with five endpoints each, and the behaviour of every endpoint."""

from dataclasses import dataclass

from project.demo.behaviour import Behaviour

#: Endpoints per customer. An event goes to one customer, so it creates at most this many deliveries.
ENDPOINTS_PER_TENANT = 5


@dataclass(frozen=True)
class PlannedEndpoint:
    """`key`: its path on the receiver. `tenant`: the number of the customer that it belongs to."""

    key: str
    tenant: int
    behaviour: Behaviour

    @property
    def wire_format(self) -> str:
        """Return its wire format: a short-lived one if it never accepts an event, so that the demo ends."""
        return "demo" if self.behaviour.can_answer else "demo_doomed"


def plan(endpoints: int) -> list[PlannedEndpoint]:
    """Return the endpoints: the second of each five fails at first, the very last always fails, the one before it hangs."""
    behaviours = [_behaviour(number, endpoints) for number in range(endpoints)]
    return [
        PlannedEndpoint(f"{behaviour}-{number}", number // ENDPOINTS_PER_TENANT, behaviour)
        for number, behaviour in enumerate(behaviours)
    ]


def _behaviour(number: int, endpoints: int) -> Behaviour:
    if endpoints >= 3 and number == endpoints - 1:
        return Behaviour.BROKEN
    if endpoints >= 4 and number == endpoints - 2:
        return Behaviour.HANGING
    return Behaviour.FLAKY if number % ENDPOINTS_PER_TENANT == 1 else Behaviour.HEALTHY


def tenants(endpoints: int) -> int:
    """Return the number of customers for this many endpoints."""
    return -(-endpoints // ENDPOINTS_PER_TENANT)
