"""The hint that asks the workers, after a commit, to look for work. It may be late or lost; `sweep` then finds the events.

A hint must not delay the host's request by more than HINT_TIMEOUT_SECONDS, and only once. A broker that refuses connections
fails in half a second, but one that drops packets blocks for 25 s, so the call runs on a thread with a short wait.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable

from django.utils.module_loading import import_string

from webhooks_app import telemetry
from webhooks_app.conf import settings

logger = logging.getLogger(__name__)


class _State:
    """What this process remembers about its hints. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self.last_sent = float("-inf")
        self.paused_until = float("-inf")
        self.stuck: threading.Thread | None = None


_state = _State()


def send_hint() -> None:
    """Send a hint, unless one was sent a moment ago or the broker has just failed. Never raises."""
    state, now = _current_state(), time.monotonic()
    path = settings().WAKE_FUNCTION
    with state.lock:
        too_soon = now - state.last_sent < settings().ENGINE.HINT_COALESCE_SECONDS
        if not path or too_soon or now < state.paused_until or (state.stuck and state.stuck.is_alive()):
            return
        state.last_sent = now
    try:
        _call_bounded(state, import_string(path))
    except Exception as error:  # noqa: BLE001 - whatever the host's function or broker does, the host's request must continue
        _pause(state, f"{type(error).__name__}: {error}")


def reset() -> None:
    """Forget the broker's state; for tests and after a change of settings."""
    global _state
    _state = _State()


def _current_state() -> _State:
    # After a fork the parent's lock may be held by a thread that does not exist here.
    if _state.pid != os.getpid():
        reset()
    return _state


def _call_bounded(state: _State, function: Callable[[], None]) -> None:
    if getattr(function, "runs_inline", lambda: False)():
        function()
        return
    failures: list[BaseException] = []

    def call() -> None:
        try:
            function()
        except Exception as error:  # noqa: BLE001 - handed to the caller's thread
            failures.append(error)

    thread = threading.Thread(target=call, name="webhooks-hint", daemon=True)
    thread.start()
    thread.join(settings().ENGINE.HINT_TIMEOUT_SECONDS)
    if thread.is_alive():
        state.stuck = thread
        _pause(state, f"no answer within {settings().ENGINE.HINT_TIMEOUT_SECONDS} s")
    elif failures:
        raise failures[0]


def _pause(state: _State, why: str) -> None:
    pause = settings().ENGINE.HINT_PAUSE_SECONDS
    telemetry.count("hint_failures")
    state.paused_until = time.monotonic() + pause
    logger.warning(
        "webhooks: the hint to the workers failed (%s); the next try is in %s s. Nothing is lost.", why, pause
    )
