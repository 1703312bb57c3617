"""The benchmarks run, with numbers too small to mean anything, and say clearly what is wrong with absurd ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from django.conf import settings

from bench.children import ROOT, Child, all_ended, time_limit, wait_until
from bench.scene import percentiles

pytestmark = pytest.mark.processes


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    # A name of its own: on the same server somebody may be measuring.
    own_name = f"bench_smoke_{os.path.basename(str(settings.DATABASES['default']['NAME']))}".split(".")[0]
    leave_out = ("WEBHOOKS_TEST_DIR", "VAR_DIR", "DJANGO_SETTINGS_MODULE")
    environment = {key: value for key, value in os.environ.items() if key not in leave_out}
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        env={**environment, "BENCH_NAME": own_name},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def result_of(*arguments: str) -> dict[str, Any]:
    done = bench(*arguments, "--limit", "50")
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_drain_loses_nothing_and_takes_the_median_of_its_rounds() -> None:
    arguments = ("--events", "30", "--endpoints", "5", "--workers", "1", "--rounds", "2", "--transport", "requests")
    result = result_of("drain", "--portable", *arguments)

    assert (result["received"], result["lost"], result["duplicates"]) == (30, 0, 0)
    assert len(result["rates_of_rounds"]) == 2
    assert result["deliveries_per_second"] in result["rates_of_rounds"]
    assert (result["transport"], result["statements"]) == ("requests", "PortableStore")


def test_latency_is_measured_for_every_event() -> None:
    mode = "celery" if "CELERY_BROKER_URL" in os.environ else "command"
    arguments = ("--rate", "10", "--seconds", "0.5", "--endpoints", "2", "--workers", "1")
    result = result_of("latency", "--mode", mode, *arguments)

    assert (result["events"], result["lost"]) == (5, 0)
    assert 0 < result["p50_ms"] <= result["p99_ms"] <= result["max_ms"]
    assert all(stage["p50"] is not None for stage in result["stages_ms"].values())


def test_isolation_compares_the_same_healthy_deliveries() -> None:
    result = result_of("isolation", "--events", "16", "--endpoints", "10", "--workers", "1", "--rounds", "1")

    assert (result["healthy_endpoints"], result["hanging_endpoints"], result["healthy_deliveries"]) == (8, 2, 16)
    assert result["rounds"][0]["alone"]["requests_left_hanging"] == 0
    assert result["rounds"][0]["beside"]["requests_left_hanging"] == 2
    assert result["ratio"] > 0


def test_pages_measures_every_page_that_there_is() -> None:
    result = result_of("pages", "--attempts", "200", "--rounds", "1")

    measured = {one["page"]: one for one in result["pages"]}
    for page in ("home", "deliveries_retry", "delivery", "attempt", "event", "log: everything", "log: rare type"):
        assert measured[page]["status"] == 200
        assert measured[page]["median_ms"] > 0
    assert measured["search: own id"]["status"] == 302
    assert measured["search: own id"]["median_ms"] > 0
    assert measured["admin: delivery list: a month"]["status"] == 200
    assert {one["status"] for one in result["pages"]} == {200, 302}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("drain", "--events", "0"), "'0' is not a whole number from 1"),
        (("isolation", "--hanging", "100"), "'100' is not a number from 0.1 to 99"),
        (("latency", "--rate", "fast"), "'fast' is not a number from 0.1"),
    ],
)
def test_absurd_numbers_are_refused(arguments: tuple[str, ...], complaint: str) -> None:
    done = bench(*arguments)

    assert done.returncode == 2
    assert complaint in done.stderr


def test_a_process_that_fails_ends_the_benchmark_at_once() -> None:
    child = Child("-c", "raise SystemExit(3)", name="worker 1")

    with all_ended([child]), pytest.raises(SystemExit, match=r"worker 1 ended early \(exit code 3\)"):
        child.hear()
    child = Child("-c", "import time; time.sleep(0.1)", name="worker 2")
    with all_ended([child]), pytest.raises(SystemExit, match="worker 2 ended early"):
        wait_until(lambda: 0, 1, "deliveries arrived", [child])


def test_waiting_has_an_end() -> None:
    with pytest.raises(SystemExit, match="3 of 4 deliveries arrived, and nothing has moved"):
        wait_until(lambda: 3, 4, "deliveries arrived", patience=0.05)
    with pytest.raises(SystemExit, match=r"not done after 0\.1 s"), time_limit(0.1):
        wait_until(lambda: 3, 4, "deliveries arrived")


def test_percentiles_are_nearest_ranks() -> None:
    assert percentiles(range(1, 101)) == {"p50": 50, "p90": 90, "p99": 99, "max": 100}
    assert percentiles([7.0]) == {"p50": 7.0, "p90": 7.0, "p99": 7.0, "max": 7.0}
    assert set(percentiles([]).values()) == {None}
