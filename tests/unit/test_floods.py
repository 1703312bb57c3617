"""How much a connection may bring: counted for each request from when it was seen first."""

from __future__ import annotations

from collections import Counter

import pytest

from webhooks_app.core.addresses import AddressPolicy
from webhooks_app.transport import TransportOptions
from webhooks_app.transport.connection_check import addresses_to_connect
from webhooks_app.transport.floods import FloodWatch

OPTIONS = TransportOptions(AddressPolicy())
TOO_MUCH = OPTIONS.body_limit + 1024 * 1024


def find(
    watch: FloodWatch, requests: dict[str, int], received: Counter[int], unread: Counter[int] | None = None
) -> list[int]:
    def read(connection: int) -> int:
        return received[connection] - (unread or Counter())[connection]

    return watch.find(requests, requests.__getitem__, received.__getitem__, read)


def test_a_connection_that_brings_too_much_is_found() -> None:
    watch = FloodWatch(OPTIONS)
    sizes = Counter({5: 0})
    for size in (0, 1000, TOO_MUCH):
        sizes[5] = size
        found = find(watch, {"request": 5}, sizes)
    assert found == [5]


def test_what_is_unread_is_no_flood() -> None:
    watch = FloodWatch(OPTIONS)
    received, unread = Counter({5: 0}), Counter({5: TOO_MUCH})
    for size in (0, 1000, TOO_MUCH):
        received[5] = size
        assert find(watch, {"request": 5}, received, unread) == []
    assert find(watch, {"request": 5}, received) == [5]


def test_a_request_that_goes_on_over_another_connection_is_counted_anew() -> None:
    """On its first connection more requests had ended than on the next one, which has another number."""
    watch = FloodWatch(OPTIONS)
    for _ in range(50):
        watch.ended(5)
    sizes = Counter({5: 0, 6: 0})
    for connection in (5, 5, 6, 6, 6):
        assert find(watch, {"request": connection}, sizes) == []
        sizes[connection] += 100


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        (("93.184.216.1",), {"93.184.216.1"}),
        (("2600::1", "2600::2", "93.184.216.1"), {"2600::1", "93.184.216.1"}),
        (("93.184.216.1", "93.184.216.2", "2600::1", "2600::2"), {"93.184.216.1", "2600::1", "2600::2"}),
        (tuple(f"93.184.216.{number}" for number in range(1, 33)), {f"93.184.216.{number}" for number in range(1, 33)}),
    ],
)
def test_a_request_connects_to_two_addresses_at_most(found: tuple[str, ...], kept: set[str]) -> None:
    """Each needs a file descriptor. Any of them has its turn in the end, since all but the first are chosen at random."""
    seen = set()
    for _ in range(2000):
        chosen = addresses_to_connect(found, AddressPolicy())
        assert chosen[0] == found[0]
        assert len(chosen) == min(len(found), 2)
        seen.update(chosen)
    assert seen == kept
