"""Decide which owner's receiver made a call of the network library costly."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import NamedTuple

#: The bytes of the connection that the call was for count this many times: the library seldom handles others in the same call.
_CALLED = 16
#: A connection is clearly the cause if it counts this many times as much as each connection of other owners.
_CLEARLY = 2
#: Evidence from several uncertain calls: an owner has made them costly if so many were for its connections …
_SEVERAL = 8
#: … and if the calls for all others would have been costly this many times as often, were they costly as often as its own. These
#: count as so many costly calls at least: among few calls for others there may be no costly one by chance.
_FAR_MORE_OFTEN = 4
_FEWEST_OF_OTHERS = 2


class ConnectionRead(NamedTuple):
    """What was read recently from a TLS connection.

    `called`: the call was for this connection. `guessed`: the connection was closed during the call, so `size` is the most that
    it can have been.
    """

    owners: frozenset[Hashable]
    size: int
    called: bool
    guessed: bool = False

    @property
    def score(self) -> int:
        return self.size * (_CALLED if self.called else 1)


def culprits(reads: Collection[ConnectionRead]) -> frozenset[Hashable]:
    """Return the owners of the connection that is clearly the cause; none if that is uncertain."""
    if not reads:
        return frozenset()
    most = max(reads, key=lambda read: read.score)
    others = max((read.score for read in reads if not read.owners <= most.owners), default=0)
    # Any handshake may time out during a costly call.
    is_clear = most.score >= others * _CLEARLY and (most.called or not most.guessed)
    return most.owners if is_clear else frozenset()


def culprits_of_several(costly: Mapping[Hashable, float], calls: Mapping[Hashable, float]) -> frozenset[Hashable]:
    """Return the owners whose receivers have made calls costly, where each call alone is uncertain. `costly`: how many costly
    calls were for a connection of each owner; `calls`: how many calls there were for it in all.

    What is read at the same time for others does not matter, since a call seldom handles another connection. It may, so the
    calls of an owner with much traffic are sometimes costly without its fault, but not more often than those of the others.
    """
    all_costly, all_calls = sum(costly.values()), sum(calls.values())

    def is_culprit(owner: Hashable) -> bool:
        own = calls.get(owner, 0)
        expected = costly[owner] / max(own, costly[owner]) * (all_calls - own)
        return expected >= _FAR_MORE_OFTEN * max(all_costly - costly[owner], _FEWEST_OF_OTHERS)

    return frozenset(owner for owner, number in costly.items() if number >= _SEVERAL and is_culprit(owner))


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
