"""Repair queues on a separate thread, one repair at a time per process, regardless of how many engines request it."""

from __future__ import annotations

import threading
import time
from functools import partial

from django.db import connections

from webhooks_app.engine.sweep import repair_free
from webhooks_app.log_thread import EngineThread, engine_logger

logger = engine_logger(__name__)

_lock = threading.Lock()
_asked: set[str] = set()
_thread: threading.Thread | None = None


def repair_soon(using: str, pause: float) -> None:
    """Compare this database's queues with their deliveries on a thread (see `sweep.repair`), and return at once. The thread
    repeats this until every queue was compared. It pauses after each repair (seconds); requests during that time share the
    next one."""
    global _thread
    with _lock:
        _asked.add(using)
        if _thread is None or not _thread.is_alive():
            thread = EngineThread(partial(_repair_what_is_asked, pause), "webhooks-repair")
            thread.start()
            _thread = thread


def _repair_what_is_asked(pause: float) -> None:
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
        time.sleep(pause)


def _repair(using: str) -> bool:
    """Run a repair, and return whether every queue was compared. A queue whose row another transaction has locked would not
    become due: only this repair knows of it."""
    try:
        return not repair_free(using).skipped
    except Exception as error:  # noqa: BLE001 - it is tried again
        logger.warning("webhooks: queues were not compared with their deliveries: %r", error)
        return False
    finally:
        connections.close_all()
