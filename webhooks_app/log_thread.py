"""The loggers of the engine's threads: the host's filters or handlers do not block them if they raise or are slow.

While an engine runs, its threads only put their records into a queue, and a separate thread passes them to the host's
handlers. Otherwise (a test that calls one part, a task before its engine, a process that starts no more threads) records are
handled at once.

The loggers of libraries (urllib3, django.db.backends, psycopg …) get a filter that does the same for records of the engine's
threads, and lets those of all other threads pass.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

from webhooks_app.tracebacks import hide_locals

#: The maximum number of records that wait for slow handlers; further ones are counted and dropped.
_MOST_WAITING = 1000
#: Records of libraries leave room for the engine's own.
_MOST_WAITING_OF_LIBRARIES = 500
#: How long the end of the last engine waits for slow handlers (seconds).
_LONGEST_FLUSH = 1.0


class LogThread:
    """Passes records to the host's handlers, in order. Thread-safe. Raises RuntimeError if no thread can be started."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[tuple[logging.Logger, logging.LogRecord] | None] = queue.SimpleQueue()
        self._dropped = 0
        #: Guards whether it is to end and whether it has ended.
        self._lock = threading.Lock()
        self._is_to_end = self._has_ended = False
        self._thread = threading.Thread(target=self._run, name="webhooks-logs", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def put(self, logger: logging.Logger, record: logging.LogRecord, most: int = _MOST_WAITING) -> None:
        """Queue the record for the thread, unless `most` records or more are waiting."""
        if self._waiting.qsize() < most:
            self._waiting.put((logger, record))
        else:
            self._dropped += 1

    def end(self) -> None:
        """Wait briefly until the queued records are written. The thread ends after that, or with the process."""
        with self._lock:
            self._is_to_end = True
        self._waiting.put(None)
        self._thread.join(_LONGEST_FLUSH)

    def go_on(self) -> bool:
        """Do not end after all: a handler has not returned yet, and a second thread would only wait for it, too. Return False if
        the thread has ended."""
        with self._lock:
            self._is_to_end = False
            return self.alive and not self._has_ended

    def _ends(self) -> bool:
        """Return whether the thread ends now. It does not while records of a later engine are waiting."""
        with self._lock:
            self._has_ended = self._is_to_end and self._waiting.empty()
            return self._has_ended

    def _run(self) -> None:
        while True:
            one = self._waiting.get()
            if one is None:
                if self._ends():
                    return
                continue
            logger, record = one
            try:
                _handle(logger, record)
                if self._dropped:
                    dropped, self._dropped = self._dropped, 0
                    _handle(logger, _dropped_record(logger, dropped))
            except BaseException:  # noqa: BLE001 - a handler that calls sys.exit ends nothing here
                with contextlib.suppress(BaseException):
                    _complain(record.msg)


def _dropped_record(logger: logging.Logger, number: int) -> logging.LogRecord:
    text = "webhooks: the handlers of the log are too slow; %d record(s) were not written"
    return logger.makeRecord(logger.name, logging.ERROR, __file__, 0, text, (number,), None)


def _handle(logger: logging.Logger, record: logging.LogRecord) -> None:
    """Pass a record to the host's handlers. Write records that fail to standard error."""
    try:
        logger.handle(record)
    except Exception:  # noqa: BLE001 - whatever the host's logging does
        _complain(record.msg)


def _complain(msg: object) -> None:
    with contextlib.suppress(Exception):  # standard error may be closed, and `msg` have no repr
        print(f"webhooks: logging failed for {msg!r}", file=sys.stderr)  # noqa: T201 - there is no other way
        traceback.print_exc()


class EngineLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose calls never raise an Exception and, while an engine runs, never block."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Return the arguments unchanged, to keep the caller's `extra`."""
        return msg, kwargs

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        try:
            if self.isEnabledFor(level):
                self._write(self._record(level, msg, args, **kwargs))
        except Exception:  # noqa: BLE001 - whatever the host's record factory does
            _complain(msg)

    def _record(
        self, level: int, msg: object, args: tuple[object, ...], exc_info: Any = None, extra: Any = None, **_: Any
    ) -> logging.LogRecord:
        path, line, function, _stack = self.logger.findCaller(stacklevel=3)
        if isinstance(exc_info, BaseException):
            exc_info = (type(exc_info), exc_info, exc_info.__traceback__)
        elif exc_info and not isinstance(exc_info, tuple):
            exc_info = sys.exc_info()
        if exc_info and exc_info[1] is not None:
            hide_locals(exc_info[1])
        return self.logger.makeRecord(self.name, level, path, line, msg, args, exc_info or None, function, extra)

    def _write(self, record: logging.LogRecord) -> None:
        thread = _thread
        if thread is None or not thread.alive:
            _handle(self.logger, record)
        else:
            thread.put(self.logger, record)


def engine_logger(name: str) -> EngineLogger:
    """Return the logger of a module that runs in an engine's threads."""
    return EngineLogger(logging.getLogger(name), {})


class _HandOver(logging.Filter):
    """A filter of one logger that passes records of an engine's threads to the log thread."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__()
        self._logger = logger

    def filter(self, record: logging.LogRecord) -> bool:
        thread = _thread
        if thread is None or not thread.alive or not getattr(_here, "is_engines", False):
            return True
        thread.put(self._logger, record, _MOST_WAITING_OF_LIBRARIES)
        return False


def _cover_all_loggers() -> None:
    """Add the filter to every logger that does not have it yet, before the host's filters, which may be slow, too. The filter
    stays installed: without a running engine it passes all records."""
    for logger in [logging.root, *list(logging.root.manager.loggerDict.values())]:
        if isinstance(logger, logging.Logger) and not any(isinstance(each, _HandOver) for each in logger.filters):
            # A new list: another thread may be iterating over the old one.
            logger.filters = [_HandOver(logger), *logger.filters]


@contextlib.contextmanager
def _as_engines_thread() -> Iterator[None]:
    """Mark the current thread as an engine thread inside the block."""
    before = getattr(_here, "is_engines", False)
    _here.is_engines = True
    _cover_all_loggers()
    try:
        yield
    finally:
        _here.is_engines = before


class EngineThread(threading.Thread):
    """A daemon thread of an engine. It never waits for the host's handlers, whichever library logs in it."""

    def __init__(self, target: Callable[[], object], name: str) -> None:
        super().__init__(target=target, name=name, daemon=True)

    def run(self) -> None:
        with _as_engines_thread():
            super().run()


_here = threading.local()
_lock = threading.Lock()
_thread: LogThread | None = None
#: The thread of earlier engines. It may still be waiting for a handler.
_last: LogThread | None = None
_engines: set[object] = set()


@contextlib.contextmanager
def logs_on_a_thread() -> Iterator[None]:
    """Write the records of all engines of this process in a thread, until the last engine has ended. The calling thread counts
    as an engine thread meanwhile."""
    global _thread, _last
    engine = object()
    with _lock:
        _engines.add(engine)
        if _thread is None or not _thread.alive:
            _thread = _started()
    try:
        with _as_engines_thread():
            yield
    finally:
        with _lock:
            _engines.discard(engine)
            ended, _thread = (None, _thread) if _engines else (_thread, None)
            _last = ended or _last
        if ended is not None:
            ended.end()


def _started() -> LogThread | None:
    if _last is not None and _last.go_on():
        return _last
    try:
        return LogThread()
    except (RuntimeError, MemoryError):  # the process is at its limit of threads
        return None


def call_in_forked_children(forget: Callable[[], None]) -> None:
    """Call this function in each forked child of this process. It has none of its parent's threads and engines."""
    if hasattr(os, "register_at_fork"):  # not on Windows
        os.register_at_fork(after_in_child=forget)


def end_if_forked(process: int, error: BaseException | None) -> None:
    """End this process if it is not `process`: code of the host's has forked it on an engine's thread, and then returned or
    raised `error`. It has a copy of that thread, which would do the same work again, over the same connections."""
    if os.getpid() == process:
        return
    status = error.code if isinstance(error, SystemExit) else error
    os._exit(status if isinstance(status, int) else int(status is not None))


def _forget_thread() -> None:
    global _lock, _thread, _last
    _lock, _thread, _last = threading.Lock(), None, None
    _engines.clear()


call_in_forked_children(_forget_thread)
