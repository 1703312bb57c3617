"""Lazy exports of a package: the modules behind the names are imported on first use, so importing needs no Django."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_exports(package: str, exports: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a `__getattr__` for the package. `exports`: name → the module that defines it, or `module:name` if its name
    differs there."""

    def get(name: str) -> Any:
        if name not in exports:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, defined_as = exports[name].partition(":")
        return getattr(import_module(module), defined_as or name)

    return get
