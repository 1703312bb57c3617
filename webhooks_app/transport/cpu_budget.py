"""How much processor time the receivers of one owner may cost in calls that take unusually long.

The way of a costly call with libcurl: `curl_sockets.act` measures it, `core.costly_calls` decides whose receiver it was,
`curl_costs.charge` charges it, `curl` ends requests, the engine's sending thread pauses the tenant. With `requests`, `handshakes`
measures a step of a handshake, whose owner is known. Why: docs/decisions/0037.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from time import monotonic

#: A call counts if it costs this much processor time (seconds): hundreds of times as much as usual, and more than a handshake. A
#: call for libcurl's timer may start hundreds of requests.
COSTLY_SECONDS = 0.01
COSTLY_TIMER_SECONDS = 0.1
#: What an owner may spend at once (seconds), and how much of that comes back in a second.
_BURST_SECONDS = 0.5
_REFILL_PER_SECOND = 0.05
_MOST_OWNERS = 1000
#: An owner that has taken less than this lately (seconds) is forgotten.
_LITTLE_SECONDS = 0.0005


def halved(taken: Mapping[object, float]) -> dict[object, float]:
    """Let what owners have taken lately (seconds) count half, and forget those that have taken little."""
    return {owner: seconds / 2 for owner, seconds in taken.items() if seconds > _LITTLE_SECONDS}


class CpuBudget:
    """The processor time that owners have spent lately. Not thread-safe."""

    def __init__(self) -> None:
        #: Owner → what it had spent (seconds) at this time.
        self._spent: dict[object, tuple[float, float]] = {}

    def charge(self, owners: Collection[object], seconds: float) -> set[object]:
        """Charge each of these owners with an equal share. Return those over their budget."""
        now = monotonic()
        if len(self._spent) > _MOST_OWNERS:
            self._spent = {owner: pair for owner, pair in self._spent.items() if self._still_spent(pair, now) > 0}
        over = set()
        for owner in owners:
            spent = self._still_spent(self._spent.get(owner, (0.0, now)), now) + seconds / len(owners)
            self._spent[owner] = spent, now
            if spent > _BURST_SECONDS:
                over.add(owner)
        return over

    @staticmethod
    def _still_spent(pair: tuple[float, float], now: float) -> float:
        spent, at = pair
        return max(spent - (now - at) * _REFILL_PER_SECOND, 0.0)
