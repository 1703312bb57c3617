"""Repair queues on a separate thread, one repair at a time per process, regardless of how many engines request it."""

from __future__ import annotations

import threading
import time

from django.db import connections

from webhooks_app.engine.sweep import repair_free
from webhooks_app.log_thread import EngineThread, engine_logger

logger = engine_logger(__name__)

#: Seconds between two repairs of a process. All requests during that time lead to one repair.
_GAP = 5.0

_lock = threading.Lock()
_asked: set[str] = set()
_thread: threading.Thread | None = None


def repair_soon(using: str) -> None:
    """Compare this database's queues with their deliveries on a thread (see `sweep.repair`), and return at once. The thread
    repeats this until every queue was compared."""
    global _thread
    with _lock:
        _asked.add(using)
        if _thread is None or not _thread.is_alive():
            thread = EngineThread(_repair_what_is_asked, "webhooks-repair")
            thread.start()
            _thread = thread


def _repair_what_is_asked() -> None:
    global _thread
    while True:
        with _lock:
            asked = sorted(_asked)
            _asked.clear()
            if not asked:
                _thread = None
                return
        for using in asked:
            if not _repair(using):
                with _lock:
                    _asked.add(using)
        time.sleep(_GAP)


def _repair(using: str) -> bool:
    """Run a repair, and return whether every queue was compared. A queue whose row another transaction has locked would stay
    asleep: only this repair knows of it."""
    try:
        return not repair_free(using).skipped
    except Exception as error:  # noqa: BLE001 - it is tried again
        logger.warning("webhooks: queues were not compared with their deliveries: %r", error)
        return False
    finally:
        connections.close_all()
