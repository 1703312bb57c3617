"""Every test in this folder is a case of `make faults`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.harness.fixtures import (  # noqa: F401 - fixtures
    broker,
    own_postgres,
    own_rabbit,
    own_redis,
    own_turn,
    play,
    postgres,
    server_folder,
    sqlite_stage,
    stage,
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.faults)
