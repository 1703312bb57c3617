"""Who is who in a one-shot demo: customers of five endpoints each, and how every endpoint behaves."""

from dataclasses import dataclass

from project.demo.behaviour import Behaviour

#: Endpoints of one customer. An event goes to one customer, so it makes at most this many deliveries.
ENDPOINTS_PER_TENANT = 5


@dataclass(frozen=True)
class PlannedEndpoint:
    """`key` is its path on the receiver; `tenant` the number of the customer that it belongs to."""

    key: str
    tenant: int
    behaviour: Behaviour

    @property
    def wire_format(self) -> str:
        """What never answers well is given up within seconds, so that the demo ends."""
        return "demo" if self.behaviour.can_answer else "demo_doomed"


def plan(endpoints: int) -> list[PlannedEndpoint]:
    """Most are healthy, the second of each five fails first, the last one always fails, the one before it hangs."""
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
    """How many customers that makes."""
    return -(-endpoints // ENDPOINTS_PER_TENANT)
