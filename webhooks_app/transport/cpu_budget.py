"""How much processor time the receivers of one owner may cost in calls that take unusually long."""

from __future__ import annotations

from collections.abc import Collection
from time import monotonic

#: A call counts if it costs this much processor time (seconds): hundreds of times as much as usual, and more than a handshake.
COSTLY = 0.01
#: What an owner may spend at once (seconds), and how much of that comes back in a second.
_MOST = 0.5
_COMES_BACK = 0.05
_MOST_OWNERS = 1000


class CpuBudget:
    """The processor time that owners have spent lately. Only for the transport's thread."""

    def __init__(self) -> None:
        #: Owner → what it had spent (seconds) at this time.
        self._spent: dict[object, tuple[float, float]] = {}

    def charge(self, owners: Collection[object], seconds: float) -> set[object]:
        """Charge these owners in equal parts, because it is unknown which of them it was. Return those over their budget."""
        now = monotonic()
        if len(self._spent) > _MOST_OWNERS:
            self._spent = {owner: pair for owner, pair in self._spent.items() if self._now(pair, now) > 0}
        over = set()
        for owner in owners:
            spent = self._now(self._spent.get(owner, (0.0, now)), now) + seconds / len(owners)
            self._spent[owner] = spent, now
            if spent > _MOST:
                over.add(owner)
        return over

    @staticmethod
    def _now(pair: tuple[float, float], now: float) -> float:
        spent, at = pair
        return max(spent - (now - at) * _COMES_BACK, 0.0)
