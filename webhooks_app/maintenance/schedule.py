"""The periodic work, as rows of django-celery-beat, where an operator can change it in the admin."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.apps import apps
from django.db import transaction

from webhooks_app.conf import settings
from webhooks_app.exceptions import ConfigurationError

BEAT = "django_celery_beat"


@dataclass(frozen=True, slots=True)
class Periodic:
    """A task that runs again and again; `name` is both the task's and the row's."""

    name: str
    every_seconds: int
    description: str
    #: Intervals that earlier versions put into the row. One of them is not an operator's choice, and is replaced.
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
    """Names of the rows, by what was done to them."""

    created: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


def put_schedule() -> ScheduleReport:
    """Create the rows, or bring their task, queue and default interval up to date.

    Safe to repeat: an interval or crontab that an operator chose, and the enabled flag, stay. Raises ConfigurationError
    where django-celery-beat is not installed.
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
    """Remove the rows. Raises ConfigurationError where django-celery-beat is not installed."""
    report = ScheduleReport()
    for row in _model("PeriodicTask").objects.filter(name__in=[periodic.name for periodic in PERIODIC]):
        report.removed.append(row.name)
        row.delete()  # one by one, since its signals tell the running beat
    return report


def missing_from_schedule(using: str) -> list[str]:
    """The names of those that no row calls."""
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
    # Messages do not expire: a worker compares the time of expiry, which beat wrote, with its own clock, and one whose clock
    # is ahead would discard every message.
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
    # Not get_or_create: nothing keeps that table from holding the same interval twice.
    intervals = _model("IntervalSchedule").objects
    wanted = {"every": seconds, "period": "seconds"}
    return intervals.filter(**wanted).first() or intervals.create(**wanted)


def _model(name: str) -> Any:
    """By the registry, so that this package imports neither Celery nor an app that may not be installed."""
    if not apps.is_installed(BEAT):
        raise ConfigurationError(f"Add {BEAT!r} to INSTALLED_APPS and run `manage.py migrate`, then try again.")
    return apps.get_model(BEAT, name)
