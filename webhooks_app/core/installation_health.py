"""Find what is wrong with the delivery of an installation: its state in, findings out.

Shared by `webhooks_status`, `/readyz` and the metrics.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum


class Severity(IntEnum):
    """The value is the exit code of `webhooks_status`."""

    OK = 0
    WARNING = 1
    CRITICAL = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveEngine:
    """One live engine. Ages in seconds: of its last heartbeat, and of each thread's last completed turn at the time of that
    heartbeat. An engine that was killed is not stalled; only its heartbeat gets old."""

    id: str
    #: host:pid
    name: str
    kind: str
    heartbeat_age: float
    database_turn_age: float
    sending_turn_age: float
    in_flight: int = 0
    unrecorded: int = 0
    #: Seconds ahead of the database.
    clock_drift: float = 0.0
    draining: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BeatState:
    """Celery beat's rows for this app: those that are missing or disabled, and the delay of `sweep`."""

    missing: tuple[str, ...] = ()
    #: Seconds since beat last ran `sweep`, and seconds between two runs.
    last_run_age: float | None = None
    interval: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallationState:
    """The state of delivery in the database. Ages in seconds, None if nothing waits; counts have an upper bound."""

    engines: tuple[LiveEngine, ...] = ()
    #: Engines whose heartbeat expired without a clean shutdown, and that were not cleaned up yet.
    dead_engines: int = 0
    #: Queues with due work that no live engine holds, and the age of the oldest.
    overdue_queues: int = 0
    oldest_due_age: float | None = None
    #: Events waiting for fan-out, and the age of the oldest.
    pending_events: int = 0
    oldest_event_age: float | None = None
    #: Events that were quarantined in the last 24 hours.
    quarantined_events: int = 0
    #: Seconds that this process's clock is ahead of the database's.
    clock_drift: float = 0.0
    #: None if Celery beat is not in use, or its schedule is not in the database.
    beat: BeatState | None = None

    @property
    def oldest_wait(self) -> float:
        """Return the age of the oldest work that no engine has taken; 0 if there is none."""
        return max(self.oldest_due_age or 0.0, self.oldest_event_age or 0.0)

    @property
    def unrecorded(self) -> int:
        return sum(engine.unrecorded for engine in self.engines)

    @property
    def largest_drift(self) -> float:
        """Return the largest difference between the database's clock and any other, in seconds."""
        return max(abs(drift) for drift in (self.clock_drift, *(engine.clock_drift for engine in self.engines)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The thresholds for warnings and critical findings. Seconds, unless the name says otherwise."""

    #: Work that is due for longer than this should have been started.
    overdue: float = 40.0
    #: The same while engines are alive, which are then overloaded.
    backlog_critical: float = 600.0
    #: At 30 s the engine stops its heartbeat, so that others take over its queues; an age above that is never seen.
    stalled: float = 10.0
    stalled_critical: float = 20.0
    #: Engines renew their heartbeat at a sixth of its life; this is four of these.
    heartbeat_late: float = 20.0
    clock_drift: float = 2.0
    #: Results in one engine.
    unrecorded: int = 1536
    #: Beat writes its last runs down every three minutes only, so these are added to the interval.
    beat_late: float = 300.0
    beat_critical: float = 900.0


@dataclass(frozen=True, slots=True)
class HealthFinding:
    """One check that is not OK, with a sentence that says what is wrong and what to do."""

    check: str
    severity: Severity
    text: str


#: The periodic task that notices work for which no engine runs.
_SWEEP = "webhooks_app.sweep"

#: Every check. `/readyz` fails on "engines".
CHECKS = ("engines", "backlog", "stalled_threads", "heartbeats", "beat", "clock_drift", "quarantine", "unrecorded")


def health_findings(state: InstallationState, limits: Limits) -> list[HealthFinding]:
    """Return the findings, the worst first. At most one finding per check."""
    found = [
        *_work(state, limits),
        *_threads(state, limits),
        *_heartbeats(state, limits),
        *_beat(state.beat, limits),
        *_clock(state, limits),
        *_quarantine(state),
        *_unrecorded(state, limits),
    ]
    return sorted(found, key=lambda finding: -finding.severity)


def severity_of(findings: list[HealthFinding]) -> Severity:
    """Return the worst severity."""
    return max((finding.severity for finding in findings), default=Severity.OK)


def is_stalled(engine: LiveEngine, limits: Limits) -> bool:
    """Return whether one of the engine's threads has not completed a turn for too long."""
    return max(engine.database_turn_age, engine.sending_turn_age) > limits.stalled


def _work(state: InstallationState, limits: Limits) -> Iterator[HealthFinding]:
    waits = state.oldest_wait
    if waits <= limits.overdue:
        return
    if not any(not engine.draining for engine in state.engines):
        yield HealthFinding(
            "engines",
            Severity.CRITICAL,
            f"No engine is running, and work has been due for {duration(waits)}. "
            f"{_what_starts_one(state.beat, limits)}",
        )
        return
    severity = Severity.CRITICAL if waits > limits.backlog_critical else Severity.WARNING
    yield HealthFinding(
        "backlog",
        severity,
        f"Work has been due for {duration(waits)} and no engine has taken it "
        f"(overdue queues: {state.overdue_queues}, events waiting for fan-out: {state.pending_events}). "
        "Run more engines, or look for a stalled one.",
    )


def _what_starts_one(beat: BeatState | None, limits: Limits) -> str:
    """Return how to start an engine. A worker starts one on a hint; if hints are lost, beat's sweep sends another."""
    if beat is not None and _SWEEP in beat.missing:
        return (
            "Run `manage.py webhooks_schedule` first: sweep, which asks the workers to deliver, is not in the schedule."
        )
    if beat is not None and _is_late(beat, limits.beat_late):
        return "Start `celery beat` first: it asks the workers to deliver."
    return "Start `manage.py webhooks_deliver`, or a Celery worker that reads the queue for webhooks."


def _threads(state: InstallationState, limits: Limits) -> Iterator[HealthFinding]:
    stalled = [engine for engine in state.engines if is_stalled(engine, limits)]
    if not stalled:
        return
    longest = max(max(engine.database_turn_age, engine.sending_turn_age) for engine in stalled)
    names = ", ".join(f"{engine.name} ({_thread_of(engine)} thread)" for engine in stalled[:5])
    yield HealthFinding(
        "stalled_threads",
        Severity.CRITICAL if longest > limits.stalled_critical else Severity.WARNING,
        f"Engines with a thread that has been stalled for up to {duration(longest)}: {names}. "
        "Restart the process; its log says what it was doing.",
    )


def _thread_of(engine: LiveEngine) -> str:
    return "database" if engine.database_turn_age >= engine.sending_turn_age else "sending"


def _heartbeats(state: InstallationState, limits: Limits) -> Iterator[HealthFinding]:
    late = [engine for engine in state.engines if engine.heartbeat_age > limits.heartbeat_late]
    if late or state.dead_engines:
        texts = []
        if late:
            texts.append(f"The heartbeat of {', '.join(engine.name for engine in late[:5])} is late.")
        if state.dead_engines:
            texts.append(f"Engines that ended without giving back their queues: {state.dead_engines}.")
        texts.append(
            "Other engines take over their queues. Look for a killed process, or a database that does not respond."
        )
        yield HealthFinding("heartbeats", Severity.WARNING, " ".join(texts))


def _beat(beat: BeatState | None, limits: Limits) -> Iterator[HealthFinding]:
    if beat is None:
        return
    if beat.missing:
        yield HealthFinding(
            "beat",
            Severity.WARNING,
            f"Not in the beat schedule, or disabled: {', '.join(beat.missing)}. Run `manage.py webhooks_schedule`, and "
            "enable them in the admin.",
        )
    elif _is_late(beat, limits.beat_late):
        yield HealthFinding(
            "beat",
            Severity.CRITICAL if _is_late(beat, limits.beat_critical) else Severity.WARNING,
            f"Celery beat last ran {_SWEEP} {duration(beat.last_run_age or 0.0)} ago. Start `celery beat` with "
            "django-celery-beat's DatabaseScheduler.",
        )


def _is_late(beat: BeatState, limit: float) -> bool:
    return beat.last_run_age is not None and beat.last_run_age > beat.interval + limit


def _clock(state: InstallationState, limits: Limits) -> Iterator[HealthFinding]:
    clocks = [("this machine", state.clock_drift), *((one.name, one.clock_drift) for one in state.engines)]
    off = [f"{name} by {drift:+.1f} s" for name, drift in clocks if abs(drift) > limits.clock_drift]
    if off:
        yield HealthFinding(
            "clock_drift",
            Severity.WARNING,
            f"Clocks differ from the database's: {', '.join(off[:5])}. Synchronise them with NTP.",
        )


def _quarantine(state: InstallationState) -> Iterator[HealthFinding]:
    if state.quarantined_events:
        yield HealthFinding(
            "quarantine",
            Severity.WARNING,
            f"Events that were quarantined in the last 24 hours and are not delivered: {state.quarantined_events}. "
            "The admin's list of events says why.",
        )


def _unrecorded(state: InstallationState, limits: Limits) -> Iterator[HealthFinding]:
    behind = [engine for engine in state.engines if engine.unrecorded > limits.unrecorded]
    if behind:
        yield HealthFinding(
            "unrecorded",
            Severity.WARNING,
            f"Finished requests that are not in the database yet: {sum(engine.unrecorded for engine in behind)} "
            f"({', '.join(engine.name for engine in behind[:5])}). The database is slow or locked; they are sent again if "
            "the process ends first.",
        )


def duration(seconds: float) -> str:
    """Write a duration in its largest units: "45 s", "12 min", "3 h 20 min"."""
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes = whole // 60
    if minutes < 120:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"
