"""The findings about an installation: which check finds something, and how severe it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from webhooks_app.core.installation_health import (
    CHECKS,
    BeatState,
    InstallationState,
    Limits,
    LiveEngine,
    Severity,
    duration,
    health_findings,
    severity_of,
)

LIMITS = Limits()
OK, WARNING, CRITICAL = Severity


def engine(**values: Any) -> LiveEngine:
    healthy = LiveEngine(
        id="1", name="host:1", kind="command", heartbeat_age=1, database_turn_age=1, sending_turn_age=1
    )
    return replace(healthy, **values)


def found(**values: Any) -> dict[str, Severity]:
    return {finding.check: finding.severity for finding in health_findings(InstallationState(**values), LIMITS)}


def test_an_idle_installation_is_ok():
    assert health_findings(InstallationState(), LIMITS) == []
    assert severity_of([]) is OK


def test_a_busy_installation_is_ok():
    assert (
        found(
            engines=(engine(in_flight=384, unrecorded=100, clock_drift=-1.9), engine(draining=True)),
            overdue_queues=900,
            oldest_due_age=39.0,
            pending_events=10_000,
            oldest_event_age=40.0,
            clock_drift=2.0,
            beat=BeatState(last_run_age=309.0),
        )
        == {}
    )


@pytest.mark.parametrize("age", ["oldest_due_age", "oldest_event_age"])
def test_work_that_waits_where_no_engine_runs_is_critical(age):
    assert found(**{age: 40.1}) == {"engines": CRITICAL}
    assert found(**{age: 40.1}, engines=(engine(draining=True),)) == {"engines": CRITICAL}
    assert found(**{age: 40.1}, dead_engines=1) == {"engines": CRITICAL, "heartbeats": WARNING}


@pytest.mark.parametrize("age", ["oldest_due_age", "oldest_event_age"])
def test_work_that_waits_beside_engines_is_a_backlog(age):
    assert found(**{age: 41}, engines=(engine(),)) == {"backlog": WARNING}
    assert found(**{age: 601}, engines=(engine(),)) == {"backlog": CRITICAL}


@pytest.mark.parametrize("thread", ["database", "sending"])
def test_a_thread_without_a_turn_is_stalled(thread):
    for seconds, severity in ((11, WARNING), (21, CRITICAL)):
        stalled = engine(**{f"{thread}_turn_age": seconds})
        [finding] = health_findings(InstallationState(engines=(engine(), stalled)), LIMITS)
        assert (finding.check, finding.severity) == ("stalled_threads", severity)
        assert f"stalled for up to {seconds} s: host:1 ({thread} thread)." in finding.text


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"engines": (engine(heartbeat_age=21),)}, {"heartbeats": WARNING}),
        ({"dead_engines": 1}, {"heartbeats": WARNING}),
        ({"engines": (engine(clock_drift=2.1),)}, {"clock_drift": WARNING}),
        ({"engines": (engine(clock_drift=-2.1),)}, {"clock_drift": WARNING}),
        ({"clock_drift": -3600.0}, {"clock_drift": WARNING}),
        ({"quarantined_events": 1}, {"quarantine": WARNING}),
        ({"engines": (engine(unrecorded=1537),)}, {"unrecorded": WARNING}),
        ({"beat": BeatState(missing=("webhooks_app.send_notifications",))}, {"beat": WARNING}),
        ({"beat": BeatState(last_run_age=311.0)}, {"beat": WARNING}),
        ({"beat": BeatState(last_run_age=911.0)}, {"beat": CRITICAL}),
        ({"beat": BeatState(last_run_age=911.0, interval=3600.0)}, {}),
    ],
)
def test_each_check_speaks(state, expected):
    assert found(**state) == expected


def test_the_worst_comes_first_and_gives_the_exit_code():
    findings = health_findings(InstallationState(quarantined_events=1, clock_drift=9, oldest_due_age=99), LIMITS)
    assert [finding.check for finding in findings] == ["engines", "clock_drift", "quarantine"]
    assert int(severity_of(findings)) == 2
    assert int(severity_of(findings[1:])) == 1


@pytest.mark.parametrize(
    ("beat", "first"),
    [
        (BeatState(missing=("webhooks_app.sweep",)), "Run `manage.py webhooks_schedule` first"),
        (BeatState(last_run_age=999.0), "Start `celery beat` first"),
        (BeatState(last_run_age=2.0, missing=("webhooks_app.prune",)), "Start `manage.py webhooks_deliver`"),
        (None, "Start `manage.py webhooks_deliver`"),
    ],
)
def test_where_no_engine_runs_the_first_thing_to_do_is_named(beat, first):
    """Workers get their hints from beat where those of `emit` were lost."""
    findings = {
        finding.check: finding.text
        for finding in health_findings(InstallationState(oldest_due_age=99, beat=beat), LIMITS)
    }
    assert first in findings["engines"]


def test_every_check_is_listed():
    everything = InstallationState(
        engines=(engine(database_turn_age=99, heartbeat_age=99, unrecorded=9999),),
        oldest_due_age=99,
        quarantined_events=1,
        clock_drift=9,
        beat=BeatState(missing=("webhooks_app.sweep",)),
    )
    checks = {finding.check for finding in health_findings(everything, LIMITS)} | {"engines"}
    assert checks == set(CHECKS)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (12_060, "3 h 21 min")],
)
def test_durations_are_short(seconds, text):
    assert duration(seconds) == text
