"""The hint: it may be late or lost, it must never break or hold up the host's request."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connections, transaction

from tests.conftest import Configure
from tests.factories import EngineFactory
from tests.pipelines import InThread, eventually, rolled_back
from webhooks_app import EventInput, emit, emit_many, tasks
from webhooks_app.engine import run as engine
from webhooks_app.events import worker_hint
from webhooks_app.models import Event, database_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("event_types")]

HINTS: list[str] = []
BLACK_HOLE = threading.Event()
NAME = "tests.integration.test_worker_hint"


def note_down() -> None:
    HINTS.append(threading.current_thread().name)


def fail() -> None:
    HINTS.append("tried")
    raise ConnectionError("no broker")


def swallow() -> None:
    HINTS.append("tried")
    BLACK_HOLE.wait(60)


@pytest.fixture(autouse=True)
def _afresh(configure: Configure) -> Any:
    HINTS.clear()
    BLACK_HOLE.clear()
    worker_hint.reset()
    configure(WAKE_FUNCTION=f"{NAME}.note_down", HINT_COALESCE_SECONDS=0.0)
    yield
    BLACK_HOLE.set()
    worker_hint.reset()


def happened(tenant: str = "anna") -> Event:
    return emit("test.happened", {}, tenant=tenant)


def test_is_left_after_the_commit_and_not_before() -> None:
    with transaction.atomic():
        happened()
        assert HINTS == []
    assert len(HINTS) == 1


def test_is_not_left_on_a_rollback() -> None:
    with rolled_back():
        happened()
    with transaction.atomic(), rolled_back():
        happened()
    assert HINTS == []


def test_waits_for_the_commit_of_the_database_that_was_written_to(other_alias: str) -> None:
    with transaction.atomic(using=other_alias):
        emit("test.happened", {}, tenant="anna", using=other_alias)
        assert HINTS == []
    assert len(HINTS) == 1


@pytest.fixture
def other_alias() -> Iterator[str]:
    """A second connection to the same database, for which any commit is as good as a second database's."""
    connections.databases["other"] = connections["default"].settings_dict
    connections["other"].connect()
    yield "other"
    connections["other"].close()
    del connections["other"], connections.databases["other"]


def test_is_not_left_for_quarantined_events_alone(configure: Configure) -> None:
    configure(STRICT=False)
    emit("nobody.knows", {}, tenant="anna")
    assert HINTS == []
    emit_many([EventInput(type=name, data={}, tenant="anna") for name in ("nobody.knows", "test.happened")])
    assert len(HINTS) == 1


def test_one_in_a_while_is_enough(configure: Configure) -> None:
    configure(HINT_COALESCE_SECONDS=60.0)
    for _ in range(20):
        happened()
    assert len(HINTS) == 1


def test_none_is_left_where_nobody_is_named(configure: Configure) -> None:
    configure(WAKE_FUNCTION="")
    happened()
    assert HINTS == []


@pytest.mark.parametrize("path", [f"{NAME}.fail", "no.such.module", f"{NAME}.nothing"])
def test_one_that_fails_breaks_nothing(configure: Configure, path: str, caplog: Any) -> None:
    configure(WAKE_FUNCTION=path)
    after: list[str] = []
    with transaction.atomic():
        happened()
        transaction.on_commit(lambda: after.append("the host's own"))
    assert Event.objects.count() == 1
    assert after == ["the host's own"]
    assert "the hint to the workers failed" in caplog.text


def test_nothing_that_the_hint_does_breaks_what_the_host_does_after_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even what the hint does not catch itself."""
    monkeypatch.setattr(worker_hint, "send_hint", fail)
    after: list[str] = []
    with transaction.atomic():
        happened()
        transaction.on_commit(lambda: after.append("the host's own"))
    assert HINTS == ["tried"]
    assert Event.objects.count() == 1
    assert after == ["the host's own"]


def test_after_a_failure_the_broker_is_left_alone_for_a_while(configure: Configure) -> None:
    configure(WAKE_FUNCTION=f"{NAME}.fail", HINT_PAUSE_SECONDS=60.0)
    for _ in range(5):
        happened()
    assert HINTS == ["tried"]


def test_it_is_tried_again_after_the_pause(configure: Configure) -> None:
    configure(WAKE_FUNCTION=f"{NAME}.fail", HINT_PAUSE_SECONDS=0.1)
    happened()
    time.sleep(0.15)
    happened()
    assert HINTS == ["tried", "tried"]


def test_a_black_hole_costs_a_request_its_time_once(configure: Configure) -> None:
    configure(WAKE_FUNCTION=f"{NAME}.swallow", HINT_TIMEOUT_SECONDS=0.2, HINT_PAUSE_SECONDS=60.0)
    began = time.monotonic()
    for _ in range(20):
        happened()
    assert 0.2 <= time.monotonic() - began < 3
    assert HINTS == ["tried"]


def test_a_call_that_is_stuck_is_not_joined_by_another(configure: Configure) -> None:
    configure(WAKE_FUNCTION=f"{NAME}.swallow", HINT_TIMEOUT_SECONDS=0.05, HINT_PAUSE_SECONDS=0.0)
    for _ in range(5):
        happened()
    assert HINTS == ["tried"]
    BLACK_HOLE.set()
    eventually(lambda: not worker_hint._state.stuck.is_alive())
    happened()
    assert HINTS == ["tried", "tried"]


class TestTheTask:
    @pytest.fixture
    def sent(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        sent: list[Any] = []
        monkeypatch.setattr(tasks.deliver, "apply_async", lambda **options: sent.append(options))
        return sent

    def test_that_finds_all_engines_running_returns_and_does_not_enqueue_itself(
        self, configure: Configure, sent: list[Any]
    ) -> None:
        configure(MAX_CELERY_ENGINES=2)
        EngineFactory.create_batch(2, alive_until=database_now("default").replace(year=2999))
        happened()
        tasks.deliver()
        assert sent == []
        assert Event.objects.pending().exists()

    def test_lingers_longer_than_hints_are_coalesced(self, configure: Configure) -> None:
        configure(LINGER_SECONDS=0.5)
        began = time.monotonic()
        InThread(tasks.deliver).result()
        assert time.monotonic() - began >= 0.5

    def test_takes_what_comes_while_it_lingers(self) -> None:
        seen: list[float] = []

        def until(progress: engine.Progress) -> bool:
            if progress.idle and not seen:
                seen.append(progress.seconds)
                happened()
            return bool(seen) and not Event.objects.pending().exists()

        assert engine.run(until=until).events == 1

    def test_leaves_a_hint_on_a_queue_of_its_own(self, configure: Configure, sent: list[Any]) -> None:
        configure(CELERY_QUEUE=f"webhooks-{uuid.uuid4().hex}")
        tasks.send_hint()
        [options] = sent
        assert options["queue"] == django_settings.WEBHOOKS["CELERY_QUEUE"]

    def test_sweep_leaves_one_where_work_waits(self, sent: list[Any]) -> None:
        tasks.sweep()
        assert sent == []
        happened()
        tasks.sweep()
        assert len(sent) == 1
