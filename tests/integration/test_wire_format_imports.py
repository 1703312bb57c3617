"""A wire format whose module takes its time to import, or fails, delays only the endpoints that have it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Configure
from tests.factories import EndpointFactory
from tests.pipelines import WIRE_FORMATS, endpoint_at, fan_out, pending_event
from tests.receiver import Receiver
from webhooks_app.core.retry import RetryPolicy
from webhooks_app.models import Delivery, database_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]

COUNTED = """
import pathlib
with pathlib.Path(__file__).with_suffix(".imports").open("a") as file:
    file.write("x")
"""
AN_HOUR = """
from dataclasses import replace
from datetime import timedelta
from tests.pipelines import QUICK
from webhooks_app.wire_formats import RetryPolicy
WIRE_FORMAT = replace(QUICK, name="mine", retry=RetryPolicy(max_age=timedelta(hours=1)))
"""
AWAY = "raise ConnectionError('the key service is away')"

#: Configures the module and returns how often it was imported so far.
Host = Callable[[str], Callable[[], int]]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configure: Configure, fast_paths: bool) -> Host:
    monkeypatch.syspath_prepend(str(tmp_path))

    def module(source: str) -> Callable[[], int]:
        name = f"imported_{tmp_path.name}"
        (tmp_path / f"{name}.py").write_text(COUNTED + source)
        paths = {**WIRE_FORMATS, "mine": f"{name}.WIRE_FORMAT"}
        configure(POSTGRESQL_SQL=fast_paths, WIRE_FORMATS=paths, DEFAULT_WIRE_FORMAT="quick")
        file = tmp_path / f"{name}.imports"
        return lambda: len(file.read_text()) if file.exists() else 0

    return module


def ages() -> list[timedelta]:
    return [delivery.expires_at - delivery.next_attempt_at for delivery in Delivery.objects.all()]


@pytest.mark.parametrize("wire_format", ["quick", "mine"])
def test_fan_out_imports_none(host: Host, wire_format: str) -> None:
    imports = host(AN_HOUR)
    pending_event(EndpointFactory(wire_format=wire_format).tenant)
    assert fan_out(database_now("default"), "default").deliveries == 1
    assert imports() == 0
    assert ages() == [RetryPolicy().max_age]


def test_an_engine_imports_it_before_it_takes_work(host: Host, receiver: Receiver, deliver: Any) -> None:
    imports = host(AN_HOUR)
    for _ in range(2):
        pending_event(endpoint_at(receiver, wire_format="mine").tenant)
        assert deliver().requests == 1
    assert imports() == 1
    assert ages() == [timedelta(hours=1)] * 2


def test_one_that_fails_is_not_imported_again_at_once(host: Host, receiver: Receiver, deliver: Any) -> None:
    imports = host(AWAY)
    pending_event(endpoint_at(receiver, wire_format="mine").tenant)
    for _ in range(2):
        pending_event(endpoint_at(receiver).tenant)
        assert deliver().requests == 1
    assert imports() == 1
