"""Outgoing webhooks for any Django product.

The public face: `emit`, `emit_many`, `aemit`, `EventType`, `registry`. Importing this needs no Django set-up: what needs it
is imported when first used.
"""

from typing import TYPE_CHECKING, Any

from webhooks_app.core.catalogue import EventType, registry

if TYPE_CHECKING:
    from webhooks_app.events.emit import EventInput, aemit, emit, emit_many

__version__ = "0.1.0"

__all__ = ["EventInput", "EventType", "__version__", "aemit", "emit", "emit_many", "registry"]

_LAZY = {"EventInput", "aemit", "emit", "emit_many"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from webhooks_app.events import emit as module

        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
