"""Check whether Celery beat runs, from the last run times in django-celery-beat's rows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.db import DatabaseError, router, transaction
from django.utils import timezone

from webhooks_app.conf import settings
from webhooks_app.core.installation_health import BeatState

BEAT = "django_celery_beat"
#: The tasks that must be scheduled, as `maintenance.schedule.PERIODIC` lists them.
TASKS = ("webhooks_app.sweep", "webhooks_app.repair", "webhooks_app.send_notifications", "webhooks_app.prune")
SWEEP = TASKS[0]


def beat_state() -> BeatState | None:
    """Return the state of beat; None if it is not installed, or if `webhooks_deliver` does its work."""
    if not apps.is_installed(BEAT) or not settings().WAKE_FUNCTION:
        return None
    try:
        rows = _rows()
    except DatabaseError:  # its tables are not there yet
        return BeatState(missing=TASKS)
    scheduled = {*rows, *scheduled_in_settings()}
    sweep = rows.get(SWEEP)
    return BeatState(
        missing=tuple(name for name in TASKS if name not in scheduled),
        last_run_age=_last_run_age(sweep) if sweep else None,
        interval=_interval(sweep) if sweep else 0.0,
    )


def _rows() -> dict[str, Any]:
    model = apps.get_model(BEAT, "PeriodicTask")
    using = router.db_for_read(model)
    with transaction.atomic(using=using):  # a savepoint: an error must not spoil the transaction around
        tasks = model._default_manager.using(using).filter(task__in=TASKS, enabled=True).select_related("interval")
        return {row.task: row for row in tasks}


def scheduled_in_settings() -> set[str]:
    """Return the tasks in CELERY_BEAT_SCHEDULE."""
    entries = getattr(django_settings, "CELERY_BEAT_SCHEDULE", None) or {}
    return {entry.get("task") for entry in entries.values()}


def _last_run_age(row: Any) -> float:
    """By this machine's clock: beat writes times by its own machine's, and minutes matter here, not seconds."""
    last: datetime = row.last_run_at or row.date_changed
    if timezone.is_naive(last):
        last = last.replace(tzinfo=UTC)
    return max((timezone.now() - last).total_seconds(), 0.0)


def _interval(row: Any) -> float:
    """Seconds between two runs; 0 for a crontab, whose limit is then only an approximation."""
    return float(row.interval.schedule.run_every.total_seconds()) if row.interval else 0.0
