"""Pauses: longer each time, and begun anew by a key that went on well."""

from __future__ import annotations

import uuid

import pytest

from webhooks_app.engine import pauses
from webhooks_app.engine.pauses import Pauses

KEY = uuid.uuid4()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    moment = [1000.0]
    monkeypatch.setattr(pauses.time, "monotonic", lambda: moment[0])
    return moment


def lengths(paused: Pauses, clock: list[float], number: int, well_for: float) -> list[float]:
    found = []
    for _ in range(number):
        began = clock[0]
        paused.put(KEY)
        found.append(paused.last(KEY) - began)
        assert KEY in paused.active()
        clock[0] = paused.last(KEY) + well_for
        assert KEY not in paused.active()
    return found


def test_each_is_twice_as_long_up_to_the_longest(clock: list[float]) -> None:
    assert lengths(Pauses(longest=1.0), clock, 5, well_for=0.01) == [0.25, 0.5, 1.0, 1.0, 1.0]


def test_a_key_that_went_on_well_begins_anew(clock: list[float]) -> None:
    paused = Pauses(longest=60.0)
    assert lengths(paused, clock, 3, well_for=0.01) == [0.25, 0.5, 1.0]
    clock[0] += 1.1
    assert lengths(paused, clock, 2, well_for=0.01) == [0.25, 0.5]


def test_whoever_was_never_paused_comes_first(clock: list[float]) -> None:
    paused, other, new = Pauses(), uuid.uuid4(), uuid.uuid4()
    paused.put(KEY)
    clock[0] += 0.1
    paused.put(other)
    assert sorted([other, KEY, new], key=paused.last) == [new, KEY, other]


def test_keys_are_not_kept_for_ever(clock: list[float]) -> None:
    paused = Pauses()
    for _ in range(5000):
        paused.put(uuid.uuid4())
        clock[0] += 0.01
    assert len(paused._until) <= 1001
