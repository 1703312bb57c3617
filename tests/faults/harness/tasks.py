"""Celery tasks of the host application, and ways in which a host may send the workers a hint."""

from __future__ import annotations

import os
import time

from celery import shared_task

from webhooks_app.tasks import send_hint


@shared_task(ignore_result=True)
def host_task(number: int) -> None:
    """Note down that the host's own work was done, and when."""
    with open(os.environ["FAULTS_HOST_TASKS"], "a") as file:
        file.write(f"{time.monotonic()} {number}\n")


def hint_twice() -> None:
    """Send every message to the workers twice."""
    send_hint()
    send_hint()


hint_twice.runs_inline = send_hint.runs_inline  # type: ignore[attr-defined]
