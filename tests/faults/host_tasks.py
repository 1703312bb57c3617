"""A host's own Celery task, for workers that run it beside delivery."""

from __future__ import annotations

from pathlib import Path

from celery import shared_task


@shared_task(name="tests.host_task", ignore_result=True)
def host_task(path: str) -> None:
    """Leave a file behind."""
    Path(path).touch()
