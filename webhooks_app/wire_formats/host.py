"""Load the host's own wire formats from dotted paths. Errors of a host's module become a ConfigurationError."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from webhooks_app.exceptions import ConfigurationError
from webhooks_app.wire_formats.base import WireFormat

#: How long (seconds) a failed import is remembered: doubled after each failure, up to the longest.
RETRY_SECONDS = 30.0
LONGEST_RETRY_SECONDS = 600.0
#: The maximum length of the host's error text in our error.
_MOST_TOLD = 500


@dataclass(frozen=True, slots=True)
class _Failure:
    """The error text, because an exception raised twice would keep its tracebacks; until when not to try again, and how long
    that is."""

    fault: str
    until: float
    pause: float


class HostWireFormats:
    """Loads wire formats by dotted path and caches them. The first import runs in the calling thread. If it fails, it is tried
    again at a later load, on a thread of its own: it may take seconds each time, and the engine loads often."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._loaded: dict[tuple[str, str], WireFormat] = {}
        self._failed: dict[tuple[str, str], _Failure] = {}
        self._retries: dict[tuple[str, str], threading.Thread] = {}

    def load(self, name: str, dotted_path: object) -> WireFormat:
        """Return the wire format at this path. Raises ConfigurationError, which names the setting, the path and the error."""
        if not isinstance(dotted_path, str):
            raise _fault(name, dotted_path, "is not a dotted path")
        # The failure first: it is removed once the wire format is there.
        failure = self._failed.get((name, dotted_path))
        wire_format = self._loaded.get((name, dotted_path))
        if wire_format is not None:
            return wire_format
        if failure is None:
            return self._try(name, dotted_path)
        if self._clock() >= failure.until:
            self._retry(name, dotted_path)
        raise _fault(name, dotted_path, failure.fault)

    def loaded(self, name: str, dotted_path: object) -> WireFormat | None:
        """Return the wire format if it was loaded before. Imports nothing."""
        return self._loaded.get((name, dotted_path)) if isinstance(dotted_path, str) else None

    def load_first(self, name: str, dotted_path: object) -> None:
        """Load the wire format if this was never tried. Raises what `load` raises."""
        if isinstance(dotted_path, str) and (name, dotted_path) not in self._failed:
            self.load(name, dotted_path)

    def _try(self, name: str, dotted_path: str) -> WireFormat:
        key = name, dotted_path
        try:
            wire_format = _import(name, dotted_path)
        except ConfigurationError as error:
            before = self._failed.get(key)
            pause = min(2 * before.pause, LONGEST_RETRY_SECONDS) if before else RETRY_SECONDS
            self._failed[key] = _Failure(str(error.values["fault"]), self._clock() + pause, pause)
            raise
        self._loaded[key] = wire_format
        self._failed.pop(key, None)
        return wire_format

    def _retry(self, name: str, dotted_path: str) -> None:
        """Try again on a thread, unless one is trying. In a process that was forked meanwhile, that one is not alive."""
        key = name, dotted_path
        with self._lock:
            if key in self._retries and self._retries[key].is_alive():
                return
            thread = threading.Thread(
                target=self._try_on_thread, args=key, name=f"webhooks-import-{name}"[:64], daemon=True
            )
            with suppress(RuntimeError):  # the process has no more threads: the next load tries again
                thread.start()
                self._retries[key] = thread

    def _try_on_thread(self, name: str, dotted_path: str) -> None:
        from django.db import connections

        try:
            with suppress(ConfigurationError):  # remembered
                self._try(name, dotted_path)
        finally:
            connections.close_all()  # the host's module may have opened some


def _import(name: str, dotted_path: str) -> WireFormat:
    from django.utils.module_loading import import_string

    try:
        wire_format = import_string(dotted_path)
        if isinstance(wire_format, WireFormat):
            return wire_format
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        # Not only Exception: a module that calls sys.exit must not end the engine.
        raise _fault(name, dotted_path, f"cannot be imported: {error_text(error)}") from error
    raise _fault(name, dotted_path, "is not a WireFormat")


def error_text(error: BaseException) -> str:
    """Return class and text of an exception of the host's, whose `__str__` may take long, fail or exit."""
    try:
        return f"{type(error).__name__}: {error}"[:_MOST_TOLD]
    except BaseException:  # noqa: BLE001 - whatever the host's code does
        return type(error).__name__


def _fault(name: str, dotted_path: object, fault: str) -> ConfigurationError:
    return ConfigurationError(
        "WEBHOOKS['WIRE_FORMATS'][%(name)r]: %(path)r %(fault)s",
        field="WIRE_FORMATS",
        name=name,
        path=dotted_path,
        fault=fault if fault.endswith(".") else f"{fault}.",
    )
