"""When a process that cannot send leases queues."""

from __future__ import annotations

import pytest

from webhooks_app.engine import send_faults
from webhooks_app.engine.send_faults import SendFaults

USUAL = 100


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    moment = [1000.0]
    monkeypatch.setattr(send_faults.time, "monotonic", lambda: moment[0])
    return moment


def failed(number: int, *, others_alive: bool = True) -> SendFaults:
    faults = SendFaults()
    faults.others_alive = others_alive
    for _ in range(number):
        faults.note_fault()
    return faults


def test_a_few_faults_change_nothing(clock: list[float]) -> None:
    faults = failed(9)
    assert faults.begin_pause() == 0.0
    assert faults.most_queues(50, USUAL) == USUAL


def test_nothing_changes_where_no_other_engine_could_send(clock: list[float]) -> None:
    faults = failed(50, others_alive=False)
    assert faults.begin_pause() == 0.0
    assert faults.most_queues(50, USUAL) == USUAL


def test_pauses_grow_as_long_as_what_is_tried_fails(clock: list[float]) -> None:
    faults, pauses = failed(10), []
    for _ in range(8):
        pauses.append(faults.begin_pause())
        assert faults.begin_pause() == 0.0, "nothing has failed since"
        assert faults.most_queues(0, USUAL) == 0
        clock[0] += pauses[-1]
        assert faults.most_queues(0, USUAL) == 1
        assert faults.most_queues(1, USUAL) == 0, "one at a time"
        faults.note_fault()
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


def test_a_response_ends_it(clock: list[float]) -> None:
    faults = failed(20)
    faults.begin_pause()
    faults.note_response()
    assert faults.most_queues(50, USUAL) == USUAL
    assert not faults.in_doubt
    faults.note_fault()
    assert faults.in_doubt
    assert faults.begin_pause() == 0.0


def test_it_is_in_doubt_before_the_first_response() -> None:
    assert SendFaults().in_doubt
