"""The result of a one-shot demo: compares the expected events with the database and the receiver's report."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from project.demo.behaviour import Seen
from project.demo.plan import PlannedEndpoint


@dataclass(frozen=True)
class Arrived:
    """What the receiver got, as numbers. See `Result.good` for the values of a good run."""

    verified: int  # deliveries accepted with a good signature
    unverified: int  # requests refused because the signature was invalid
    lost: int  # neither received nor pending, although the endpoint accepts events
    duplicates: int  # deliveries accepted more than once, each repetition counted
    unexpected: int  # accepted, but never committed or meant for another endpoint


def compare(
    expected: Mapping[int, set[str]],
    endpoints: list[PlannedEndpoint],
    seen: Mapping[str, Seen],
    pending: Mapping[str, set[str]],
) -> Arrived:
    """Compare expected and received events.

    `expected`: customer → webhook-ids of its committed events. `seen`: endpoint key → what the receiver got. `pending`:
    endpoint key → webhook-ids that the database still holds for it; they are late, not lost.
    """
    lost = duplicates = unexpected = verified = 0
    for endpoint in endpoints:
        accepted = seen[endpoint.key].accepted
        wanted = expected.get(endpoint.tenant, set()) if endpoint.behaviour.can_answer else set()
        verified += len(accepted)
        lost += len(wanted - accepted.keys() - pending.get(endpoint.key, set()))
        unexpected += len(accepted.keys() - wanted)
        duplicates += sum(times - 1 for times in accepted.values())
    return Arrived(verified, sum(one.unverified for one in seen.values()), lost, duplicates, unexpected)


@dataclass(frozen=True)
class Result:
    """The numbers of one run."""

    events: int
    rolled_back: int
    endpoints: int
    deliveries: int
    succeeded: int
    retried: int
    exhausted: int
    pending: int
    requests: int
    verified: int
    unverified: int
    lost: int
    duplicates: int
    unexpected: int
    seconds: float
    deliveries_per_second: float
    database: str
    transport: str

    @property
    def good(self) -> bool:
        """Return whether everything that can arrive has arrived with a valid signature, and nothing else."""
        return not (self.lost or self.unverified or self.pending or self.unexpected)

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    def as_table(self) -> str:
        rows = [
            ("events emitted and committed", f"{self.events:,}"),
            ("events rolled back", f"{self.rolled_back:,}"),
            ("endpoints", f"{self.endpoints:,}"),
            ("deliveries", f"{self.deliveries:,}"),
            ("  succeeded", f"{self.succeeded:,}"),
            ("  given up (endpoints that never answer well)", f"{self.exhausted:,}"),
            ("  retried at least once", f"{self.retried:,}"),
            ("  still pending", f"{self.pending:,}"),
            ("requests made", f"{self.requests:,}"),
            ("verified by the receiver", f"{self.verified:,}"),
            ("signatures that did not fit", f"{self.unverified:,}"),
            ("lost", f"{self.lost:,}"),
            ("duplicates", f"{self.duplicates:,}"),
            ("received though rolled back or not meant", f"{self.unexpected:,}"),
            ("seconds", f"{self.seconds:.2f}"),
            ("deliveries a second", f"{self.deliveries_per_second:,.0f}"),
            ("database, transport", f"{self.database}, {self.transport}"),
        ]
        width = max(len(name) for name, _ in rows)
        lines = [f"{name:<{width}}  {value:>18}" for name, value in rows]
        return "\n".join([*lines, "", self._verdict()])

    def _verdict(self) -> str:
        if self.good:
            return "Nothing was lost."
        if self.lost or self.unverified or self.unexpected:
            return "NOT GOOD: something was lost or faked."
        return (
            "NOT FINISHED: the time was over before all was delivered. Nothing was lost; give it more with --timeout."
        )
