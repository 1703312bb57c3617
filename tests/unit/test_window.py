"""The rolling window: which request starts next. Pure; its times are numbers."""

from __future__ import annotations

import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from webhooks_app.core.health import Health
from webhooks_app.models.ids import new_id
from webhooks_app.pipeline.store.rows import QueueState
from webhooks_app.pipeline.window import HeldQueue, Window
from webhooks_app.pipeline.work import Job, Route
from webhooks_app.profiles.standard import PROFILE

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def a_queue(
    jobs: int = 0, *, cap: int = 8, fifo: bool = False, rate_limit: int | None = None, **values: Any
) -> HeldQueue:
    route = Route(new_id(), new_id(), "https://example.com/", PROFILE, (), (), cap, rate_limit, fifo)
    queue = HeldQueue(route, values.pop("health", Health()), taken_at=0.0, **values)
    queue.dry = True
    queue.jobs.extend(a_job(queue) for _ in range(jobs))
    queue.in_memory.update(job.delivery_id for job in queue.jobs)
    return queue


def a_job(queue: HeldQueue, size: int = 10) -> Job:
    return Job(new_id(), queue.endpoint_id, uuid.UUID(int=1), 0, 0, NOW, sequence=0, size=size)


def a_window(*queues: HeldQueue, size: int = 100, max_held: int = 100, stalled_room: int = 0) -> Window:
    window = Window(size, max_held, stalled_room)
    window.add(queues)
    for queue in queues:
        jobs = list(queue.jobs)
        queue.jobs.clear()
        window.feed(queue, jobs)
    return window


def start(window: Window, now: float = 0.0, room: int = 1000) -> list[Job]:
    return window.start(now, room)


def finish(window: Window, *jobs: Job, succeeded: bool = True, **values: Any) -> None:
    for job in jobs:
        window.finish(job, succeeded=succeeded, **{"slowed": False, "hold_until": None, "stop": False, **values})


def prove(window: Window, count: int = 1) -> None:
    """Let the queues succeed once each."""
    jobs = start(window)
    assert len(jobs) == count
    finish(window, *jobs)
    window.recorded(jobs)


class TestSlowStart:
    @pytest.mark.parametrize(("cap", "widths"), [(8, [1, 2, 4, 8, 8]), (5, [1, 2, 4, 5, 5]), (1, [1, 1, 1, 1, 1])])
    def test_doubles_with_every_success_up_to_the_cap(self, cap: int, widths: list[int]) -> None:
        queue = a_queue(100, cap=cap)
        window = a_window(queue)
        in_flight: list[Job] = []
        for width in widths:
            in_flight += start(window)
            assert len(in_flight) == width
            finish(window, in_flight.pop())

    def test_begins_anew_after_a_time_out(self) -> None:
        queue = a_queue(100)
        window = a_window(queue)
        for _ in range(3):
            finish(window, start(window)[0])
        started = start(window)
        assert window.in_flight == 8
        finish(window, started[0], succeeded=False, slowed=True)
        assert queue.allowance == 1
        assert start(window) == [], "the others in flight are more than it may have now"

    def test_is_not_set_back_by_a_plain_failure(self) -> None:
        queue = a_queue(100)
        window = a_window(queue)
        finish(window, *start(window))
        finish(window, start(window)[0], succeeded=False)
        assert queue.allowance == 2

    @pytest.mark.parametrize("values", [{"fifo": True}, {"takeovers": 2}, {"cap": 1}], ids=str)
    def test_never_goes_beyond_one_where_only_one_is_allowed(self, values: dict[str, Any]) -> None:
        window = a_window(a_queue(10, **values))
        for _ in range(4):
            [job] = start(window)
            assert start(window) == []
            finish(window, job)
            if "takeovers" in values:
                break  # a success has cleared it

    def test_of_a_probing_queue_goes_on_after_its_success(self) -> None:
        queue = a_queue(10, probing=True)
        window = a_window(queue)
        [probe] = start(window)
        assert start(window) == []
        finish(window, probe)
        assert len(start(window)) == 2


class TestTheHalf:
    def test_is_all_that_unproven_queues_may_fill(self) -> None:
        window = a_window(*[a_queue(1) for _ in range(10)], size=8)
        assert len(start(window)) == 4
        assert start(window) == []

    def test_is_left_to_proven_ones(self) -> None:
        proven = a_queue(20)
        window = a_window(proven, size=8)
        prove(window)
        hanging = [a_queue(5) for _ in range(10)]
        window.add(hanging)
        for queue in hanging:
            window.feed(queue, list(queue.jobs))
        owners = Counter(job.endpoint_id for job in start(window))
        assert sum(count for key, count in owners.items() if key != proven.endpoint_id) == 4
        assert owners[proven.endpoint_id] == 2

    def test_is_not_counted_for_what_a_queue_had_in_flight_before_it_succeeded(self) -> None:
        queues = [a_queue(3) for _ in range(4)]
        window = a_window(*queues, size=4)
        first = start(window)
        assert len(first) == 2
        finish(window, *first)  # both proven: the half is free again
        assert len(start(window)) == 4

    def test_is_at_least_one_request(self) -> None:
        assert len(start(a_window(a_queue(1), size=1))) == 1


class TestAStalledRequest:
    """The first request of a queue, that hangs."""

    def test_makes_room_for_another_after_a_second(self) -> None:
        window = a_window(*(a_queue(1) for _ in range(6)), size=4, stalled_room=10)
        assert len(start(window, now=0.0)) == 2
        assert not start(window, now=0.9)
        assert len(start(window, now=1.1)) == 2
        assert len(start(window, now=2.2)) == 2
        assert window.in_flight == 6

    def test_is_set_aside_no_oftener_than_there_is_room(self) -> None:
        window = a_window(*(a_queue(1) for _ in range(6)), size=4, stalled_room=1)
        start(window, now=0.0)
        assert len(start(window, now=5.0)) == 1
        assert not start(window, now=10.0)

    def test_leaves_its_queue_able_to_answer_late_and_to_go_on(self) -> None:
        queue = a_queue(5)
        window = a_window(queue, size=4, stalled_room=10)
        (job,) = start(window, now=0.0)
        assert not start(window, now=5.0)
        assert window.in_flight == 1
        finish(window, job)
        assert window.in_flight == 0
        assert len(start(window, now=6.0)) == 2

    def test_is_not_taken_for_the_one_after_it(self) -> None:
        queue = a_queue(2)
        window = a_window(queue, a_queue(1), size=2, stalled_room=10)
        (first,) = start(window, now=0.0)
        finish(window, first, succeeded=False)
        assert len(start(window, now=0.9)) == 1
        assert not start(window, now=1.5)

    def test_of_a_proven_queue_counts_as_any_other(self) -> None:
        queue = a_queue(10)
        window = a_window(queue, size=4, stalled_room=10)
        prove(window)
        started = start(window, now=0.0)
        assert len(started) == 2
        assert not start(window, now=9.0)

    def test_leaves_its_place_among_the_unproven_to_another_queue(self) -> None:
        window = a_window(a_queue(1), a_queue(1), size=4, stalled_room=10)
        assert window.room()[QueueState.HEALTHY] == 2
        start(window, now=0.0)
        start(window, now=2.0)
        assert window.room()[QueueState.HEALTHY] == 4


class TestTurns:
    def test_go_round_robin_one_request_each(self) -> None:
        queues = [a_queue(10) for _ in range(3)]
        window = a_window(*queues)
        prove(window, 3)
        owners = [job.endpoint_id for job in start(window)]
        assert owners[:3] == owners[3:]
        assert len(set(owners)) == 3

    def test_never_exceed_the_window_or_the_room(self) -> None:
        window = a_window(*[a_queue(5) for _ in range(20)], size=30)
        assert len(start(window, room=3)) == 3
        assert window.in_flight == 3
        assert len(start(window)) == 12
        assert start(window) == []

    def test_of_a_rate_limited_queue_come_evenly(self) -> None:
        window = a_window(a_queue(100, rate_limit=10, cap=100))
        starts = []
        for tick in range(100):
            for job in start(window, now=tick / 100):
                starts.append(tick / 100)
                finish(window, job)
        assert 10 <= len(starts) <= 12
        assert window.earliest_slot() is not None


class TestASuspect:
    def test_waits_for_the_others_and_lets_nothing_start_meanwhile(self) -> None:
        other, suspect = a_queue(5), a_queue(2, takeovers=2)
        window = a_window(other)
        [running] = start(window)
        window.add([suspect])
        window.feed(suspect, list(suspect.jobs))
        assert start(window) == []
        finish(window, running)
        [alone] = start(window)
        assert alone.endpoint_id == suspect.endpoint_id
        assert start(window) == []
        finish(window, alone)
        assert len(start(window)) > 1, "a success clears it of suspicion"

    def test_that_is_given_back_stands_in_nobodys_way(self) -> None:
        suspect, other = a_queue(1, takeovers=2), a_queue(3)
        window = a_window(suspect, other)
        [alone] = [job for job in start(window) if job.endpoint_id == suspect.endpoint_id] or start(window)
        finish(window, alone, succeeded=False, stop=True)
        window.recorded([alone])
        window.take_finished(1.0, 5.0)
        assert start(window)


class TestRoom:
    def test_counts_proven_queues_against_the_limit_and_unproven_ones_against_the_window(self) -> None:
        window = a_window(*[a_queue(5) for _ in range(4)], size=20, max_held=10)
        assert window.room()[QueueState.HEALTHY] == 10
        prove(window, 4)
        assert window.room()[QueueState.HEALTHY] == 6

    def test_for_failing_queues_is_a_quarter_of_the_window(self) -> None:
        window = a_window(*[a_queue(1, health=Health(streak=3)) for _ in range(2)], size=20)
        assert window.room()[QueueState.FAILING] == 3
        assert window.room()[QueueState.HEALTHY] == 20

    def test_is_for_one_suspect_at_a_time(self) -> None:
        assert a_window().room()[QueueState.SUSPECT] == 1
        assert a_window(a_queue(1, takeovers=2)).room()[QueueState.SUSPECT] == 0


class TestGivingBack:
    def test_waits_for_what_is_in_flight_and_unrecorded(self) -> None:
        queue = a_queue(1)
        window = a_window(queue)
        [job] = start(window)
        assert window.take_finished(1.0, 5.0) == []
        finish(window, job)
        assert window.take_finished(1.0, 5.0) == []
        window.recorded([job])
        assert window.take_finished(1.0, 5.0) == [queue]
        assert window.idle

    def test_comes_after_the_longest_hold_though_there_is_more(self) -> None:
        queue = a_queue(10)
        window = a_window(queue)
        assert window.take_finished(4.0, 5.0) == []
        assert window.take_finished(6.0, 5.0) == [queue]
        assert not queue.in_memory

    def test_keeps_the_latest_hold(self) -> None:
        queue = a_queue(3)
        window = a_window(queue)
        finish(window, *start(window))
        first, second = start(window)
        finish(window, first, succeeded=False, hold_until=NOW + timedelta(minutes=2))
        finish(window, second, succeeded=False, hold_until=NOW)
        assert queue.hold_until == NOW + timedelta(minutes=2)

    def test_of_an_abandoned_job_leaves_nothing_behind(self) -> None:
        queue = a_queue(2)
        window = a_window(queue)
        [job] = start(window)
        window.abandon(job)
        assert window.in_flight == 0
        assert window.take_finished(0.0, 5.0) == [queue]


class TestDropping:
    def test_forgets_what_was_read_ahead_but_not_what_is_in_flight(self) -> None:
        queue = a_queue(10)
        window = a_window(queue)
        [job] = start(window)
        window.drop([queue.endpoint_id], lost=True)
        assert start(window) == []
        assert queue.in_memory == {job.delivery_id}
        window.feed(queue, [a_job(queue)])
        assert not queue.jobs, "it takes nothing more"
        assert window.ours() == []
        assert window.held() == [queue.endpoint_id]


def test_hungry_queues_are_those_that_run_low_and_are_not_known_to_be_dry() -> None:
    full, low, dry = a_queue(10), a_queue(2), a_queue(2)
    window = a_window(full, low, dry)
    full.dry = low.dry = False
    assert window.hungry(10) == [low]
    window.revive([dry.endpoint_id])
    assert window.hungry(10) == [low, dry]


def test_the_bytes_read_ahead_are_known() -> None:
    window = a_window(a_queue(3), a_queue(2))
    assert window.prefetched_bytes() == 50
    start(window)
    assert window.prefetched_bytes() == 30
