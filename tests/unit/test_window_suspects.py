"""The window, suspects: a queue that may have crashed an engine is alone in it, and holds up the others for a moment only."""

from __future__ import annotations

import pytest

from tests.unit.windows import a_queue, a_window, add, finish, start


class TestASuspect:
    def test_waits_for_the_others_and_lets_nothing_start_meanwhile(self) -> None:
        other, suspect = a_queue(5), a_queue(2, crash_takeovers=2)
        window = a_window(other)
        [running] = start(window)
        add(window, suspect)
        assert start(window) == []
        finish(window, running)
        [alone] = start(window)
        assert alone.endpoint_id == suspect.endpoint_id
        assert start(window) == []
        finish(window, alone)
        assert len(start(window)) > 1, "a success clears it of suspicion"

    def test_that_is_given_back_stands_in_nobodys_way(self) -> None:
        suspect, other = a_queue(1, crash_takeovers=2), a_queue(3)
        window = a_window(suspect, other)
        [alone] = [delivery for delivery in start(window) if delivery.endpoint_id == suspect.endpoint_id] or start(
            window
        )
        finish(window, alone, succeeded=False, stop=True)
        window.recorded([alone])
        window.take_finished(1.0)
        assert start(window)

    @pytest.mark.parametrize("in_flight", [0, 1])
    def test_that_waits_for_a_thread_stops_nobody(self, in_flight: int) -> None:
        suspect, other = a_queue(1, crash_takeovers=2), a_queue(3)
        suspect.runs_host_code = True
        window = a_window(other)
        window.waits_for_thread = lambda config: True
        assert len(start(window, limit=in_flight)) == in_flight
        add(window, suspect, third := a_queue(1))
        assert third.endpoint_id in {delivery.endpoint_id for delivery in start(window)}

    def test_that_waits_for_its_rate_stops_nobody(self) -> None:
        suspect, other = a_queue(1, crash_takeovers=2, rate_limit=1), a_queue(3)
        suspect.sending.next_slot = 100.0
        window = a_window(suspect, other)
        assert [delivery.endpoint_id for delivery in start(window)] == [other.endpoint_id]

    def test_waits_for_no_half_of_those_without_success_but_for_an_empty_window(self) -> None:
        other, suspect = a_queue(1), a_queue(1, crash_takeovers=2)
        window = a_window(other, size=2)
        [running] = start(window)
        add(window, suspect, a_queue(1, trusted=True))
        assert start(window) == []
        finish(window, running)
        assert [delivery.endpoint_id for delivery in start(window)] == [suspect.endpoint_id]

    def test_that_is_put_back_stops_nobody(self) -> None:
        suspect, other = a_queue(1, crash_takeovers=2), a_queue(3)
        window = a_window(suspect)
        window.put_back(start(window))
        add(window, other)
        assert [delivery.endpoint_id for delivery in start(window)] == [other.endpoint_id]

    def test_is_alone_anew_when_its_request_has_been_built(self) -> None:
        suspect, other = a_queue(1, crash_takeovers=2), a_queue(3)
        window = a_window(suspect, crash_isolation_seconds=0.5)
        assert len(start(window)) == 1
        add(window, other)
        assert start(window, 0.4) == []
        [running] = start(window, 0.6)
        finish(window, running)
        window.restart_crash_isolation(suspect, 1.0)
        assert start(window, 1.4) == []
        assert start(window, 1.6)

    def test_leaves_the_window_to_the_others_for_twice_as_long_as_it_had_it(self) -> None:
        suspect, next_one = a_queue(1, crash_takeovers=2), a_queue(1, crash_takeovers=2)
        window = a_window(suspect, crash_isolation_seconds=0.5)
        [alone] = start(window)
        window.restart_crash_isolation(suspect, 0.5)
        finish(window, alone, succeeded=False, stop=True)
        add(window, next_one)
        assert start(window, 2.9) == []
        assert start(window, 3.1)

    def test_that_has_ended_soon_leaves_the_window_to_the_others_for_a_moment_only(self) -> None:
        window = a_window(a_queue(1, crash_takeovers=2), a_queue(1, crash_takeovers=2))
        (first,) = start(window, 0.0)
        finish(window, first)
        assert start(window, 0.01) == []
        assert start(window, 0.50) == []
        assert start(window, 0.52)
