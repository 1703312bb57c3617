"""Decide whose receiver made a call of the network library costly."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable
from typing import NamedTuple

#: The bytes of the connection that the call was for count this many times: the library seldom handles others in the same call.
_CALLED = 16
#: A connection is clearly the cause if it counts this many times as much as each connection of other owners.
_CLEARLY = 2


class ConnectionRead(NamedTuple):
    """What was read recently from a TLS connection. `called`: the call was for this connection."""

    owners: frozenset[Hashable]
    size: int
    called: bool

    @property
    def score(self) -> int:
        return self.size * (_CALLED if self.called else 1)


def culprits(reads: Collection[ConnectionRead]) -> frozenset[Hashable]:
    """Return the owners of the connection that is clearly the cause; none if that is uncertain."""
    if not reads:
        return frozenset()
    most = max(reads, key=lambda read: read.score)
    others = max((read.score for read in reads if not read.owners <= most.owners), default=0)
    return most.owners if most.score >= others * _CLEARLY else frozenset()


def weights(reads: Collection[ConnectionRead]) -> dict[Hashable, float]:
    """Return the owners that may have caused the call, each with a weight up to 1: the culprits, or all if that is uncertain."""
    if found := culprits(reads):
        return dict.fromkeys(found, 1.0)
    scores = _scores(reads)
    most = max(scores.values(), default=1)
    return {owner: score / most for owner, score in scores.items()}


def _scores(reads: Iterable[ConnectionRead]) -> dict[Hashable, int]:
    scores: dict[Hashable, int] = {}
    for read in reads:
        for owner in read.owners:
            scores[owner] = max(read.score, scores.get(owner, 0))
    return scores
