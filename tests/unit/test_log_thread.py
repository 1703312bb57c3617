"""The log of an engine's threads: the host's handlers may be slow, and raise."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator

import pytest

from webhooks_app import log_thread
from webhooks_app.log_thread import engine_logger, logs_on_a_thread

logger = engine_logger("webhooks_app.engine.example")


class Handler(logging.Handler):
    """Keeps what it is given, once `gate` is open."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.gate = threading.Event()
        self.gate.set()

    def emit(self, record: logging.LogRecord) -> None:
        self.gate.wait(30)
        self.records.append(record)
        if record.msg == "exit":
            raise SystemExit(1)

    @property
    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@pytest.fixture
def handler() -> Iterator[Handler]:
    handler = Handler()
    logger.logger.addHandler(handler)
    yield handler
    handler.gate.set()
    logger.logger.removeHandler(handler)


def test_records_are_handled_at_once_where_no_engine_runs(handler: Handler) -> None:
    logger.error("one %s", 1)
    assert handler.messages == ["one 1"]


def test_a_record_says_where_it_was_logged_and_what_failed(handler: Handler) -> None:
    with logs_on_a_thread():
        try:
            raise ValueError("no")
        except ValueError as error:
            logger.warning("a", exc_info=error, extra={"webhooks": {"delivery_id": "dlv_1"}})
            logger.exception("b")
    for record in handler.records:
        assert (record.pathname, record.funcName) == (
            __file__,
            "test_a_record_says_where_it_was_logged_and_what_failed",
        )
        assert record.threadName == threading.current_thread().name
        assert record.exc_info is not None
        assert str(record.exc_info[1]) == "no"
    assert [record.levelname for record in handler.records] == ["WARNING", "ERROR"]
    assert handler.records[0].webhooks == {"delivery_id": "dlv_1"}  # type: ignore[attr-defined]


def test_nobody_waits_for_a_slow_handler_and_the_end_waits_only_for_a_moment(
    handler: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_thread, "_LONGEST_FLUSH", 0.05)
    handler.gate.clear()
    with logs_on_a_thread():
        for number in range(1200):
            logger.error("%d", number)
        assert not handler.records
        writer = log_thread._thread
        assert writer is not None
    handler.gate.set()
    writer._thread.join(30)
    written = [int(text) for text in handler.messages if text.isdigit()]
    told = [text for text in handler.messages if not text.isdigit()]
    assert written == sorted(written)
    assert 1000 <= len(written) <= 1010
    assert told == [f"webhooks: the handlers of the log are too slow; {1200 - len(written)} record(s) were not written"]


def test_engines_leave_one_thread_behind_where_a_handler_does_not_return(
    handler: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_thread, "_LONGEST_FLUSH", 0.05)
    handler.gate.clear()
    for number in range(5):
        with logs_on_a_thread():
            logger.error("%d", number)
        assert log_thread._thread is None
    threads = [thread for thread in threading.enumerate() if thread.name == "webhooks-logs"]
    assert len(threads) == 1
    handler.gate.set()
    threads[0].join(30)
    assert handler.messages == ["0", "1", "2", "3", "4"]
    with logs_on_a_thread():
        logger.error("5")
    assert handler.messages[-1] == "5"


def test_a_handler_that_exits_ends_neither_thread(handler: Handler, capsys: pytest.CaptureFixture[str]) -> None:
    with logs_on_a_thread():
        logger.error("exit")
        logger.error("after")
    assert handler.messages == ["exit", "after"]
    assert "logging failed for 'exit'" in capsys.readouterr().err


def test_two_engines_of_a_process_share_the_thread(handler: Handler) -> None:
    with logs_on_a_thread():
        with logs_on_a_thread():
            first = log_thread._thread
            logger.error("inner")
        assert log_thread._thread is first
        logger.error("outer")
    assert log_thread._thread is None
    assert handler.messages == ["inner", "outer"]


def test_a_level_that_is_off_costs_no_record(handler: Handler) -> None:
    logger.logger.setLevel(logging.ERROR)
    try:
        with logs_on_a_thread():
            logger.info("nothing")
    finally:
        logger.logger.setLevel(logging.NOTSET)
    assert handler.messages == []


def test_records_are_written_at_once_where_no_thread_can_be_started(
    handler: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as limit:
        limit.setattr(threading.Thread, "start", no_thread)
        with logs_on_a_thread():
            logger.error("without")
            assert handler.messages == ["without"]
    with logs_on_a_thread():
        assert log_thread._thread is not None
        logger.error("with")
    assert log_thread._thread is None
    assert handler.messages == ["without", "with"]


class BrokenStream:
    """Standard error of a process whose terminal is gone."""

    def write(self, text: str) -> int:
        raise OSError("broken")


def test_a_broken_standard_error_ends_neither_thread(handler: Handler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", BrokenStream())
    with logs_on_a_thread():
        logger.error("exit")
        logger.error("after")
    assert handler.messages == ["exit", "after"]
    handler.emit = lambda record: 1 / 0  # type: ignore[assignment, method-assign, return-value]
    logger.error("at once")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_writes_its_records(handler: Handler) -> None:
    with logs_on_a_thread():
        child = os.fork()
        if not child:
            logger.error("at once")
            at_once = handler.messages == ["at once"]
            with logs_on_a_thread():
                logger.error("on a thread")
            os._exit(not (at_once and handler.messages == ["at once", "on a thread"] and log_thread._thread is None))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
