"""The processor time of owners, and the tenants that pay for stuck calls."""

from __future__ import annotations

import uuid

import pytest

from webhooks_app.engine import tenant_pauses
from webhooks_app.engine.tenant_pauses import TenantPauses
from webhooks_app.transport import cpu_budget
from webhooks_app.transport.cpu_budget import CpuBudget

ONE, TWO, THREE = (uuid.UUID(int=number) for number in (1, 2, 3))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(cpu_budget, "monotonic", clock)
    monkeypatch.setattr(tenant_pauses.time, "monotonic", clock)
    return clock


def test_an_owner_pays_for_what_it_spends_at_once(clock: Clock) -> None:
    budget = CpuBudget()
    assert [budget.charge({ONE}, 0.2) for _ in range(3)] == [set(), set(), {ONE}]
    assert budget.charge({TWO}, 0.2) == set()


def test_what_is_spent_slowly_comes_back(clock: Clock) -> None:
    budget = CpuBudget()
    for _ in range(100):
        assert budget.charge({ONE}, 0.2) == set()
        clock.now += 4.0


def test_several_share_the_cost(clock: Clock) -> None:
    budget = CpuBudget()
    for _ in range(4):
        assert budget.charge({ONE, TWO}, 0.2) == set()
    assert budget.charge({ONE}, 0.2) == {ONE}
    assert budget.charge((), 5.0) == set()


def test_many_owners_are_forgotten(clock: Clock) -> None:
    budget = CpuBudget()
    for number in range(5000):
        budget.charge({number}, 0.01)
        clock.now += 0.01
    assert len(budget._spent) < 1100


def test_the_only_suspect_is_the_culprit(clock: Clock) -> None:
    assert TenantPauses().note_stuck_call({ONE: 0.9}) == {ONE}
    assert TenantPauses().note_stuck_call({}) == set()


def test_the_one_that_is_always_there_is_the_culprit(clock: Clock) -> None:
    pauses = TenantPauses()
    assert pauses.note_stuck_call({ONE: 0.9, TWO: 0.9}) == set()
    assert pauses.note_stuck_call({ONE: 0.9, THREE: 0.9}) == {ONE}


def test_one_that_is_always_suspected_a_little_is_not(clock: Clock) -> None:
    pauses, busy = TenantPauses(), THREE
    calls = ({ONE: 0.9}, {TWO: 0.9}, {ONE: 0.9}, {TWO: 0.9})
    seen = [pauses.note_stuck_call({**call, busy: 0.05}) for call in calls]
    assert seen == [set(), set(), {ONE}, {TWO}]


def test_suspicion_is_forgotten(clock: Clock) -> None:
    pauses = TenantPauses()
    pauses.note_stuck_call({ONE: 0.9, TWO: 0.9})
    clock.now += 601
    assert pauses.note_stuck_call({ONE: 0.9, TWO: 0.8}) == set()
