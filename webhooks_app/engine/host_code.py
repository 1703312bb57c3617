"""Find wire formats that call host code when a request is built: such code may be slow, or never return."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from types import FunctionType, MethodType
from typing import Any

from webhooks_app.wire_formats.base import WireFormat

_PACKAGE = __name__.partition(".")[0]
_DEEPEST = 8
#: Values of exactly these types run only Python's own code.
_PLAIN = (str, bytes, int, float, bool, type(None), frozenset)
#: A cache of the last wire formats, by identity: their parts need not be hashable.
_known: dict[int, tuple[WireFormat, bool]] = {}
_MOST_KNOWN = 256


def runs_host_code(wire_format: WireFormat) -> bool:
    """Return whether building a request of this wire format calls anything that is not defined in this package.

    True for functions, lambdas and methods of other modules, and for objects whose class is defined in another module, even if it
    is a subclass of one in this package. True also for an envelope or scheme of this package that was given one of those, and
    where it is not certain.
    """
    found = _known.get(id(wire_format))
    if found is None:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        found = _known[id(wire_format)] = (wire_format, _runs_host_code(wire_format))
    return found[1]


def _runs_host_code(wire_format: WireFormat) -> bool:
    if type(wire_format) is not WireFormat:
        return True
    return any(
        _is_the_hosts(part, _DEEPEST) for part in (wire_format.envelope, wire_format.extra_headers, wire_format.scheme)
    )


def _is_the_hosts(value: Any, deepest: int) -> bool:
    if type(value) in _PLAIN:
        return False
    if deepest <= 0 or not _is_ours(value):
        return True
    return any(_is_the_hosts(part, deepest - 1) for part in _parts(value))


def _is_ours(value: Any) -> bool:
    if type(value) in (tuple, MethodType):
        return True  # its parts count
    # Check the globals: functools.wraps, in a host's decorator, copies the name and the module of our function.
    module = value.__globals__.get("__name__") if type(value) is FunctionType else type(value).__module__
    return isinstance(module, str) and module.partition(".")[0] == _PACKAGE


def _parts(value: Any) -> Iterator[Any]:
    """Yield the values that the code of this value may call."""
    if type(value) is tuple:
        yield from value
    elif type(value) is MethodType:
        yield value.__func__
        yield value.__self__
    elif type(value) is FunctionType:
        for cell in value.__closure__ or ():
            # An empty cell has no contents, so its code is unknown.
            yield getattr(cell, "cell_contents", object)
        yield from value.__defaults__ or ()
    elif is_dataclass(value):
        for one in fields(value):
            yield getattr(value, one.name)
