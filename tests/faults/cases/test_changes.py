"""Customers pause, disable, delete and change their endpoints under load; keys go missing."""

from __future__ import annotations

import time

import pytest

from tests.faults.harness.stage import Stage

#: No request starts later than this after the action was committed (seconds).
LAST_START = 1.0


@pytest.mark.parametrize("kind", ["command", "celery"])
@pytest.mark.parametrize("action", ["pause", "disable", "delete"])
def test_an_endpoint_is_stopped_under_load(stage: Stage, action: str, kind: str) -> None:
    """Only requests that had started finish."""
    stage.healthy()
    [stopped] = stage.customer("stopped", 1, "stopped", does="slow 0.1", owed=False)
    stage.command() if kind == "command" else (stage.celery(), stage.beat())
    with stage.traffic():
        stage.host.call("emit", "stopped", 200)
        stage.wait_for_arrivals("stopped", 20)
        at = stage.host.call("act", action, [stopped.public_id])
        time.sleep(3.0)
    starts = [
        one for (path, _), times in stage.arrivals.update().times.items() if path == stopped.path for one in times
    ]
    late = max(starts) - at
    stage.row.note = f"(last start {late:+.2f} s)"
    stage.judge()
    stage.demand(late < LAST_START, f"a request started {late:.2f} s after it was stopped")
    stage.demand(len(starts) < 200, "everything had been sent before")


def test_a_secret_is_rotated_between_attempts(stage: Stage) -> None:
    stage.healthy()
    [rotated] = stage.customer("rotated", 1, "rotated", does="503")
    stage.command()
    with stage.traffic():
        stage.host.call("emit", "rotated", 5)
        stage.wait_for_arrivals("rotated", 5)
        stage.host.call("act", "rotate", [rotated.public_id])
        stage.set("rotated", "ok")
        time.sleep(2.0)
    stage.row.allowed = stage.arrived("rotated")  # its first requests failed, so these are retries
    stage.judge()


def test_a_worker_without_the_encryption_key(stage: Stage) -> None:
    """It does not start, or holds back; no attempt is used up. With the key everything arrives."""
    stage.healthy()
    stage.host.call("emit", "healthy-0", 20)
    wrong = {
        "WEBHOOKS_ENCRYPTION_KEYS": "",
        "FAULTS_SETTINGS": '{"WEBHOOKS": {"ENCRYPTION_KEYS": ["%s="]}}' % ("A" * 43),
    }
    other = stage.command(wait_until_it_runs=False, environment=wrong)
    time.sleep(5.0)
    used = stage.database.number("SELECT coalesce(max(attempts), 0) FROM webhooks_app_delivery")
    other.terminate()
    stage.command()
    stage.demand(used == 0, f"{used} attempts were used up without a key")
    stage.judge(stall=70.0, by_nature=True, patience=90.0)  # a queue that could not be signed for rests for a minute
