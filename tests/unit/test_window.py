"""The window: which request starts next. Its times are numbers."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from tests.unit.windows import NOW, a_delivery, a_queue, a_window, add, finish, let_succeed, start
from webhooks_app.core.circuit_breaker import Health
from webhooks_app.engine.sql.types import QueueClass
from webhooks_app.engine.types import QueuedDelivery


class TestSlowStart:
    @pytest.mark.parametrize(("cap", "widths"), [(8, [1, 2, 4, 8, 8]), (5, [1, 2, 4, 5, 5]), (1, [1, 1, 1, 1, 1])])
    def test_doubles_with_every_success_up_to_the_cap(self, cap: int, widths: list[int]) -> None:
        queue = a_queue(100, cap=cap)
        window = a_window(queue)
        in_flight: list[QueuedDelivery] = []
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
        assert queue.sending.allowance == 1
        assert start(window) == [], "the others in flight are more than it may have now"

    def test_is_not_set_back_by_a_plain_failure(self) -> None:
        queue = a_queue(100)
        window = a_window(queue)
        finish(window, *start(window))
        finish(window, start(window)[0], succeeded=False)
        assert queue.sending.allowance == 2

    @pytest.mark.parametrize("values", [{"fifo": True}, {"crash_takeovers": 2}, {"cap": 1}], ids=str)
    def test_never_goes_beyond_one_where_only_one_is_allowed(self, values: dict[str, Any]) -> None:
        window = a_window(a_queue(10, **values))
        for _ in range(4):
            [delivery] = start(window)
            assert start(window) == []
            finish(window, delivery)
            if "crash_takeovers" in values:
                break  # a success has cleared it

    def test_of_a_probing_queue_goes_on_after_its_success(self) -> None:
        queue = a_queue(10, probing=True)
        window = a_window(queue)
        [probe] = start(window)
        assert start(window) == []
        finish(window, probe)
        assert len(start(window)) == 2


class TestTheHalf:
    def test_is_all_that_queues_without_success_may_fill(self) -> None:
        window = a_window(*[a_queue(1) for _ in range(10)], size=8)
        assert len(start(window)) == 4
        assert start(window) == []

    def test_is_left_to_proven_ones(self) -> None:
        proven = a_queue(20)
        window = a_window(proven, size=8)
        let_succeed(window)
        hanging = [a_queue(5) for _ in range(10)]
        add(window, *hanging)
        owners = Counter(delivery.endpoint_id for delivery in start(window))
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


class TestTurns:
    def test_go_round_robin_one_request_each(self) -> None:
        queues = [a_queue(10) for _ in range(3)]
        window = a_window(*queues)
        let_succeed(window, 3)
        owners = [delivery.endpoint_id for delivery in start(window)]
        assert owners[:3] == owners[3:]
        assert len(set(owners)) == 3

    def test_never_exceed_the_window_or_the_room(self) -> None:
        window = a_window(*[a_queue(5) for _ in range(20)], size=30)
        assert len(start(window, limit=3)) == 3
        assert window.in_flight == 3
        assert len(start(window)) == 12
        assert start(window) == []

    def test_of_a_rate_limited_queue_come_evenly(self) -> None:
        window = a_window(a_queue(100, rate_limit=10, cap=100))
        starts = []
        for tick in range(100):
            for delivery in start(window, now=tick / 100):
                starts.append(tick / 100)
                finish(window, delivery)
        assert 10 <= len(starts) <= 12
        assert window.earliest_slot() is not None


class TestLeaseCapacity:
    def test_counts_queues_with_success_against_the_limit_and_others_against_the_window(self) -> None:
        window = a_window(*[a_queue(5) for _ in range(4)], size=20, max_leased=10)
        assert window.lease_capacity()[QueueClass.TRUSTED].limit == 10
        assert window.lease_capacity()[QueueClass.NEW].limit == 6, "they may fill half of the window"
        let_succeed(window, 4)
        assert window.lease_capacity()[QueueClass.TRUSTED].limit == 6
        assert window.lease_capacity()[QueueClass.NEW].limit == 6

    def test_does_not_count_proven_queues_that_hang(self) -> None:
        """Two tenants whose queues answer once, and then hang until their deadline, could keep everybody from leasing."""
        window = a_window(*[a_queue(5) for _ in range(4)], size=20, max_leased=10, slow=1)
        let_succeed(window, 4)
        start(window, now=10.0)
        assert window.lease_capacity()[QueueClass.TRUSTED].limit == 6
        start(window, now=20.0)
        assert window.lease_capacity()[QueueClass.TRUSTED].limit == 10

    def test_for_failing_queues_is_a_quarter_of_the_window(self) -> None:
        window = a_window(*[a_queue(1, health=Health(consecutive_failures=3)) for _ in range(2)], size=20)
        assert window.lease_capacity()[QueueClass.FAILING].limit == 3
        assert window.lease_capacity()[QueueClass.TRUSTED].limit == 20

    def test_is_for_one_suspected_queue_at_a_time(self) -> None:
        assert a_window().lease_capacity()[QueueClass.SUSPECTED].limit == 1
        assert a_window(a_queue(1, crash_takeovers=2)).lease_capacity()[QueueClass.SUSPECTED].limit == 0

    def test_for_a_suspected_queue_is_none_where_its_tenant_can_start_nothing(self) -> None:
        queue = a_queue(1)
        window = a_window(queue, size=4, slow=1)
        start(window, now=0.0)
        assert not window.lease_capacity()[QueueClass.SUSPECTED].full
        start(window, now=2.0)
        assert window.lease_capacity()[QueueClass.SUSPECTED].full == {queue.config.tenant_id}


class TestGivingBack:
    def test_waits_for_what_is_in_flight_and_unrecorded(self) -> None:
        queue = a_queue(1)
        window = a_window(queue)
        [delivery] = start(window)
        assert window.take_finished(1.0) == []
        finish(window, delivery)
        assert window.take_finished(1.0) == []
        window.recorded([delivery])
        assert window.take_finished(1.0) == [queue]
        assert window.idle

    def test_comes_after_the_longest_hold_though_there_is_more(self) -> None:
        queue = a_queue(10)
        window = a_window(queue)
        assert window.take_finished(4.0) == []
        assert window.take_finished(6.0) == [queue]
        assert not queue.sending.in_memory

    def test_keeps_the_latest_hold(self) -> None:
        queue = a_queue(3)
        window = a_window(queue)
        finish(window, *start(window))
        first, second = start(window)
        finish(window, first, succeeded=False, hold_until=NOW + timedelta(minutes=2))
        finish(window, second, succeeded=False, hold_until=NOW)
        assert queue.sending.hold_until == NOW + timedelta(minutes=2)

    def test_of_an_abandoned_delivery_leaves_nothing_behind(self) -> None:
        queue = a_queue(2)
        window = a_window(queue)
        [delivery] = start(window)
        window.abandon(delivery)
        assert window.in_flight == 0
        assert window.take_finished(0.0) == [queue]


class TestDropping:
    def test_forgets_what_was_read_ahead_but_not_what_is_in_flight(self) -> None:
        queue = a_queue(10)
        window = a_window(queue)
        [delivery] = start(window)
        window.drop([queue.endpoint_id], lost=True)
        assert start(window) == []
        assert queue.sending.in_memory == {delivery.delivery_id}
        window.add_deliveries(queue, [a_delivery(queue)])
        assert not queue.sending.ready, "it takes nothing more"
        assert window.own() == set()
        assert window.leased() == [queue.endpoint_id]


def test_queues_to_refill_are_those_that_run_low_and_are_not_exhausted() -> None:
    full, low, exhausted = a_queue(10), a_queue(2), a_queue(2)
    window = a_window(full, low, exhausted)
    full.reading.exhausted = low.reading.exhausted = False
    assert list(window.queues_to_refill(10)) == [low]
    window.mark_has_work([exhausted.endpoint_id])
    assert list(window.queues_to_refill(10)) == [low, exhausted]


def test_the_bytes_read_ahead_are_known() -> None:
    window = a_window(a_queue(3), a_queue(2))
    assert window.bytes_by_tenant().total() == 50
    deliveries = start(window)
    assert window.bytes_by_tenant().total() == 50, "what is in flight is in memory, too"
    finish(window, *deliveries)
    assert window.bytes_by_tenant().total() == 30


def test_a_queue_of_host_code_waits_for_a_thread_and_others_do_not() -> None:
    host, other = a_queue(2), a_queue(2)
    host.runs_host_code = True
    window = a_window(host, other)
    window.waits_for_thread = lambda config: True
    assert [one.endpoint_id for one in start(window)] == [other.endpoint_id]
    window.waits_for_thread = lambda config: False
    assert [one.endpoint_id for one in start(window)] == [host.endpoint_id]


def test_what_is_put_back_uses_up_no_rate() -> None:
    queue = a_queue(2, rate_limit=1)
    window = a_window(queue)
    window.put_back(start(window))
    assert len(start(window, 0.0)) == 1
