"""Too few file descriptors, wrong clocks, a silent mail server."""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Iterator

import pytest

from tests.faults.harness.fixtures import Play
from tests.faults.harness.servers import black_hole
from tests.faults.harness.stage import Stage

SHUTDOWN = 8.0
#: libfaketime delays timed waits by up to seconds, even when it changes the clock by nothing.
FAKETIME_PAUSES = 5.0
FAILED = "SELECT count(*) FROM webhooks_app_attempt WHERE outcome NOT IN ('succeeded', 'not_sent')"
STREAKS = "SELECT count(*) FROM webhooks_app_endpointqueue WHERE consecutive_failures > 0"


@pytest.mark.parametrize("kind", ["command", "celery"])
def test_64_file_descriptors(stage: Stage, kind: str) -> None:
    """Our own lack of descriptors is no endpoint's failure."""
    stage.customer("many", 100, "many", does="slow 0.3")
    stage.healthy(tenants=2)
    if kind == "command":
        stage.command(open_files=64)
    else:
        stage.celery(open_files=64)
        stage.beat()
    with stage.traffic():
        stage.host.call("emit", "many", 10)
        time.sleep(5.0)
        invented, blamed = stage.database.number(FAILED), stage.database.number(STREAKS)
    stage.demand(not invented, f"{invented} attempts were booked as the receivers' failures")
    stage.demand(not blamed, f"{blamed} endpoints are taken for failing")
    stage.judge(stall=10.0)


# --- clocks -----------------------------------------------------------------------------------------------------------


def clock(hours: int) -> dict[str, str]:
    """The environment of a process whose clock is wrong by so many hours."""
    libraries = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
    if not libraries:
        if os.environ.get("CI"):
            pytest.fail("libfaketime is not installed")
        pytest.skip("libfaketime is not installed")
    return {"LD_PRELOAD": libraries[0], "FAKETIME": f"{hours:+d}h", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


@pytest.mark.parametrize("hours", [1, -1])
@pytest.mark.parametrize("kind", ["command", "celery"])
def test_the_workers_clock_is_wrong_by(stage: Stage, hours: int, kind: str) -> None:
    stage.healthy()
    if kind == "command":
        stage.command(environment=clock(hours))
    else:
        stage.celery(environment=clock(hours))
        stage.beat()
    with stage.traffic():
        time.sleep(6.0)
    stage.judge(stall=FAKETIME_PAUSES)


def test_two_workers_whose_clocks_are_two_hours_apart(stage: Stage) -> None:
    stage.healthy()
    stage.command(environment=clock(1))
    stage.command(environment=clock(-1))
    with stage.traffic():
        time.sleep(8.0)
    stage.judge(stall=FAKETIME_PAUSES)


# --- mail -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def silent_mail(play: Play) -> Iterator[Stage]:
    with black_hole() as port:
        yield play(
            EMAIL_BACKEND="django.core.mail.backends.smtp.EmailBackend",
            EMAIL_HOST="127.0.0.1",
            EMAIL_PORT=port,
            WEBHOOKS={"NOTIFICATIONS": {"STAFF_EMAILS": ["staff@example.com"]}},
        )


def leave_something_to_tell(stage: Stage) -> None:
    [endpoint] = stage.customer("unlucky", 1, "unlucky", owed=False, email="unlucky@example.com")
    stage.host.call("act", "disable", [endpoint.public_id])


def test_a_mail_server_that_never_answers_celery(silent_mail: Stage) -> None:
    stage = silent_mail
    stage.healthy()
    leave_something_to_tell(stage)
    stage.celery()
    stage.beat()
    with stage.traffic():
        for _ in range(6):  # as beat does once a minute
            stage.host.call("run_on_celery", "webhooks_app.send_notifications")
            time.sleep(2.0)
    stage.settle()
    seconds = stage.workers[0].terminate()
    stage.demand(seconds < SHUTDOWN, f"the worker took {seconds:.1f} s to stop")
    stage.command()  # delivers the rest
    stage.judge()


def test_a_mail_server_that_never_answers_the_command(silent_mail: Stage) -> None:
    stage = silent_mail
    stage.healthy()
    leave_something_to_tell(stage)
    stage.command()
    with stage.traffic(rate=5):
        time.sleep(63.0)  # its housekeeping sends e-mails once a minute
    stage.settle()
    seconds = stage.workers[0].terminate()
    stage.demand(seconds < SHUTDOWN, f"the command took {seconds:.1f} s to stop")
    stage.command()  # delivers the rest
    stage.judge()
