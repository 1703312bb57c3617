"""How many requests fit into the process's file descriptors."""

from __future__ import annotations

import logging
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from webhooks_app.transport import open_transport, transport_options
from webhooks_app.transport.descriptors import (
    bounded_concurrency,
    descriptors_for,
    open_descriptors,
    soft_limit,
)


@pytest.mark.parametrize(
    ("wanted", "limit", "opened", "allowed"),
    [
        (1920, None, 30, 1920),  # no limit
        (1920, 1 << 20, 30, 1920),
        (1920, 1024, 30, 429),  # a usual soft limit of Linux: more than a window of 384
        (100, 1024, 30, 100),
        (1920, 256, 30, 74),  # macOS's
        (1920, 64, 24, 4),  # the reserve alone would leave nothing
        (1920, 64, 64, 1),
        (1920, 64, 100, 1),
        (1, 64, 24, 1),
    ],
)
def test_bounded_concurrency(wanted: int, limit: int | None, opened: int, allowed: int) -> None:
    assert bounded_concurrency(wanted, limit, opened) == allowed


@pytest.mark.parametrize("limit", range(200, 5000, 7))
def test_idle_connections_and_the_reserve_fit_too(limit: int) -> None:
    concurrency = bounded_concurrency(10_000, limit, 30)
    assert descriptors_for(concurrency) + 30 <= limit


def test_the_open_descriptors_are_counted() -> None:
    before = open_descriptors()
    read, write = os.pipe()
    assert open_descriptors() == before + 2
    os.close(read)
    os.close(write)


@pytest.fixture
def limit_256() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_limit_bounds_the_transport_and_says_so_once(
    settings: Any, caplog: pytest.LogCaptureFixture, limit_256: None
) -> None:
    settings.WEBHOOKS = {"ENGINE": {"WINDOW": 383}}
    assert soft_limit() == 256
    with caplog.at_level(logging.WARNING, "webhooks_app.transport"), closing(open_transport()) as transport:
        assert 1 <= transport.capacity < 192
        assert transport_options().concurrency < 192
    [record] = caplog.records
    assert "ulimit -n" in record.getMessage()
    assert "256 open files" in record.getMessage()


def test_a_window_that_fits_gives_no_warning(settings: Any, caplog: pytest.LogCaptureFixture, limit_256: None) -> None:
    settings.WEBHOOKS = {"ENGINE": {"WINDOW": 20}}
    with caplog.at_level(logging.WARNING, "webhooks_app.transport"):
        assert 40 <= transport_options().concurrency <= 100
    assert not caplog.records


RAISE = """
import resource
from webhooks_app.transport.descriptors import raise_soft_limit
for hard, wanted in ((800, 500), (800, 5000), (700, 100)):
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    raise_soft_limit(wanted)
    print(resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def test_the_soft_limit_is_raised_up_to_the_hard_one() -> None:
    done = subprocess.run([sys.executable, "-c", RAISE], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:3] == ["(500, 800)", "(800, 800)", "(256, 700)"]
