"""Periodic tasks, as rows of django-celery-beat that an operator can change in the admin."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.apps import apps
from django.db import transaction

from webhooks_app.conf import settings
from webhooks_app.exceptions import ConfigurationError
from webhooks_app.telemetry.beat import BEAT


@dataclass(frozen=True, slots=True)
class Periodic:
    """A periodic task; `name` is the name of both the task and the row."""

    name: str
    every_seconds: int
    description: str
    #: Default intervals of earlier versions. A row with one of them was not changed by an operator, and is updated.
    former_seconds: tuple[int, ...] = ()


PERIODIC = (
    Periodic(
        "webhooks_app.sweep",
        3,
        "Finds what a lost hint left behind, and frees the queues of dead engines.",
        former_seconds=(10,),
    ),
    Periodic(
        "webhooks_app.repair",
        600,
        "Compares idle queues with their deliveries and wakes those that would sleep on; creates queues that are missing.",
    ),
    Periodic("webhooks_app.send_notifications", 60, "E-mails about failed deliveries and disabled endpoints."),
    Periodic("webhooks_app.prune", 3600, "Deletes what is older than the retention."),
)


@dataclass(slots=True)
class ScheduleReport:
    """The names of the rows, by what was done to them."""

    created: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


def put_schedule() -> ScheduleReport:
    """Create the rows, or update their task, queue and default interval.

    Safe to repeat: an interval or crontab that an operator chose, and the enabled flag, stay. Raises ConfigurationError if
    django-celery-beat is not installed.
    """
    tasks = _model("PeriodicTask")
    report = ScheduleReport()
    with transaction.atomic(using=tasks.objects.db):
        for periodic in PERIODIC:
            row = tasks.objects.filter(name=periodic.name).first()
            if row is None:
                _create(periodic)
                report.created.append(periodic.name)
            elif _update(row, periodic):
                report.changed.append(periodic.name)
            else:
                report.kept.append(periodic.name)
    return report


def remove_schedule() -> ScheduleReport:
    """Remove the rows. Raises ConfigurationError if django-celery-beat is not installed."""
    report = ScheduleReport()
    for row in _model("PeriodicTask").objects.filter(name__in=[periodic.name for periodic in PERIODIC]):
        report.removed.append(row.name)
        row.delete()  # one by one, since the signals notify the running beat
    return report


def missing_from_schedule(using: str) -> list[str]:
    """Return the names of the periodic tasks that no row calls."""
    scheduled = set(_model("PeriodicTask").objects.using(using).values_list("task", flat=True))
    return [periodic.name for periodic in PERIODIC if periodic.name not in scheduled]


def _create(periodic: Periodic) -> None:
    _model("PeriodicTask").objects.create(
        name=periodic.name,
        task=periodic.name,
        interval=_interval(periodic.every_seconds),
        queue=settings().CELERY_QUEUE,
        description=periodic.description,
    )


def _update(row: Any, periodic: Periodic) -> bool:
    # Messages do not expire: a worker compares the expiry time, written by beat, with its own clock, so a worker whose clock is
    # ahead would discard every message.
    wanted: dict[str, Any] = {"task": periodic.name, "queue": settings().CELERY_QUEUE, "expire_seconds": None}
    if row.interval is not None and row.interval.schedule.run_every.total_seconds() in periodic.former_seconds:
        wanted["interval"] = _interval(periodic.every_seconds)
    changes = {name: value for name, value in wanted.items() if getattr(row, name) != value}
    for name, value in changes.items():
        setattr(row, name, value)
    if changes:
        row.save()
    return bool(changes)


def _interval(seconds: int) -> Any:
    # Not get_or_create: that table may contain the same interval twice.
    intervals = _model("IntervalSchedule").objects
    wanted = {"every": seconds, "period": "seconds"}
    return intervals.filter(**wanted).first() or intervals.create(**wanted)


def _model(name: str) -> Any:
    """Return the model from the app registry: this package imports neither Celery nor an app that may not be installed."""
    if not apps.is_installed(BEAT):
        raise ConfigurationError(f"Add {BEAT!r} to INSTALLED_APPS and run `manage.py migrate`, then try again.")
    return apps.get_model(BEAT, name)
