"""Load the host's own wire formats from dotted paths. Errors of a host's module become a ConfigurationError."""

from __future__ import annotations

import time
from collections.abc import Callable

from webhooks_app.exceptions import ConfigurationError
from webhooks_app.wire_formats.base import WireFormat

#: How long a failed import is remembered. The engine loads often, and a failing import may take seconds each time.
RETRY_SECONDS = 30.0
#: The maximum length of the host's error text in our error.
_MOST_TOLD = 500


class HostWireFormats:
    """Loads wire formats by dotted path and caches them; a failed import is repeated after `retry_seconds`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, retry_seconds: float = RETRY_SECONDS) -> None:
        self._clock = clock
        self._retry_seconds = retry_seconds
        self._loaded: dict[tuple[str, str], WireFormat] = {}
        #: The error text, and until when not to try again. A text, because an exception raised twice would keep its tracebacks.
        self._failed: dict[tuple[str, str], tuple[str, float]] = {}

    def load(self, name: str, dotted_path: object) -> WireFormat:
        """Return the wire format at this path. Raises ConfigurationError, which names the setting, the path and the error."""
        if not isinstance(dotted_path, str):
            raise _fault(name, dotted_path, "is not a dotted path")
        key = name, dotted_path
        wire_format = self._loaded.get(key)
        if wire_format is not None:
            return wire_format
        fault, until = self._failed.get(key, ("", 0.0))
        if fault and self._clock() < until:
            raise _fault(name, dotted_path, fault)
        try:
            wire_format = _import(name, dotted_path)
        except ConfigurationError as error:
            self._failed[key] = str(error.values["fault"]), self._clock() + self._retry_seconds
            raise
        self._loaded[key] = wire_format
        self._failed.pop(key, None)
        return wire_format


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
        raise _fault(name, dotted_path, f"cannot be imported: {_told(error)}") from error
    raise _fault(name, dotted_path, "is not a WireFormat")


def _told(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:_MOST_TOLD]
    except Exception:  # noqa: BLE001 - the host's exception may have a __str__ that fails
        return type(error).__name__


def _fault(name: str, dotted_path: object, fault: str) -> ConfigurationError:
    return ConfigurationError(
        "WEBHOOKS['WIRE_FORMATS'][%(name)r]: %(path)r %(fault)s",
        field="WIRE_FORMATS",
        name=name,
        path=dotted_path,
        fault=fault if fault.endswith(".") else f"{fault}.",
    )
