"""What every test that sends something starts from: a receiver, event types, quick settings, both sets of statements."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connection

from tests.pipelines import EVENT_TYPES, WIRE_FORMATS
from tests.receiver import Receiver
from webhooks_app import registry
from webhooks_app.conf import EngineSettings, Settings
from webhooks_app.engine import run as engine
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.sweep import repair
from webhooks_app.events import callback_hosts, worker_hint

pytest_plugins = ["tests.visitors", "tests.leases", "tests.apart", "tests.security_table"]

Configure = Callable[..., None]

_ENGINE = {item.name for item in fields(EngineSettings)}
_GROUPS = {item.name for item in fields(Settings) if is_dataclass(item.default)}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """On PostgreSQL each test of the pipeline runs twice: with its own statements and with the portable ones."""
    if "fast_paths" in metafunc.fixturenames:
        both = connection.vendor == "postgresql"
        metafunc.parametrize("fast_paths", [True, False] if both else [False], ids=["fast", "portable"][not both :])


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collecting makes a million objects that stay. Looking through all of them for garbage took two fifths of its time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("postgres") and connection.vendor != "postgresql":
            item.add_marker(pytest.mark.skip(reason="needs PostgreSQL: set DATABASE_URL"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown() -> None:
    """What a `deliver` task has put off does not happen in the middle of another test."""
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.cancel()
            thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def webhooks_settings(before: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return WEBHOOKS with these changes: the keys of a group are added to those that it has, names of ENGINE are put there."""
    engine = {name: value for name, value in changes.items() if name in _ENGINE}
    after = {**before, "ENGINE": {**before.get("ENGINE", {}), **engine}}
    for name in changes.keys() - _ENGINE:
        after[name] = {**after.get(name, {}), **changes[name]} if name in _GROUPS else changes[name]
    return after


@pytest.fixture
def configure(settings: Any) -> Configure:
    """Change WEBHOOKS settings for one test: `configure(WINDOW=4, API={"RATE_LIMIT": ""})`. Those of ENGINE are put there."""

    def change(**values: Any) -> None:
        settings.WEBHOOKS = webhooks_settings(django_settings.WEBHOOKS, values)

    return change


@pytest.fixture
def pipeline(fast_paths: bool, configure: Configure, event_types: None) -> Iterator[None]:
    """Everything a test of the pipeline stands on. Take it with `usefixtures`.

    Whatever a test has done, no queue may sleep through its work afterwards; one that breaks a queue mends it too.
    """
    configure(POSTGRESQL_SQL=fast_paths, WIRE_FORMATS=WIRE_FORMATS, DEFAULT_WIRE_FORMAT="quick")
    worker_hint.reset()
    callback_hosts.reset()
    yield
    assert repair() == 0, "a wake-up was lost; a test that makes deliveries by itself uses `due_delivery`"


@pytest.fixture
def event_types() -> Iterator[None]:
    registry.register(*EVENT_TYPES)
    yield
    registry.unregister([type_.name for type_ in EVENT_TYPES])


@pytest.fixture
def deliver() -> Callable[..., engine.Progress]:
    """Run an engine in this thread until nothing is due."""

    def run(options: EngineOptions | None = None) -> engine.Progress:
        return engine.run(until=engine.idle_for(0), options=options)

    return run
