"""Checks of the fields of values that a host creates: policies, wire formats, secret formats. Pure.

They run once, when the value is created, so that the engine can use it without checking again. Each raises
ConfigurationError, which names the field and the allowed values.
"""

from __future__ import annotations

import reprlib
from collections.abc import Collection
from datetime import timedelta
from typing import NoReturn

from webhooks_app.exceptions import ConfigurationError

#: The maximum of any delay. It keeps sums of times within the range of a datetime.
LONGEST = timedelta(days=366)


def reject(owner: object, name: str, wanted: str) -> NoReturn:
    """Raise ConfigurationError for a field that does not match `wanted`."""
    # reprlib: a short text, even of a value whose own repr raises or is endless.
    shown = reprlib.repr(getattr(owner, name))
    raise ConfigurationError(f"{type(owner).__name__}.{name} must be {wanted}, not {shown}.", field=name)


def is_duration(value: object, *, zero: bool) -> bool:
    least = timedelta(0) if zero else timedelta(microseconds=1)
    # `type() is`, here and below: a subclass may have methods of the host's, which would run on the engine's threads.
    return type(value) is timedelta and least <= value <= LONGEST


def check_durations(owner: object, *names: str, zero: bool = False, none: bool = False) -> None:
    for name in names:
        value = getattr(owner, name)
        if not (is_duration(value, zero=zero) or (none and value is None)):
            wanted = (
                f"a plain timedelta {'from' if zero else 'above'} 0 {'to' if zero else 'and up to'} {LONGEST.days} days"
            )
            reject(owner, name, wanted + (" or None" if none else ""))


def check_whole_numbers(owner: object, *names: str, least: int, most: int, none: bool = False) -> None:
    for name in names:
        value = getattr(owner, name)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not ((whole and least <= value <= most) or (none and value is None)):
            reject(owner, name, f"a whole number from {least} to {most}" + (" or None" if none else ""))


def check_seconds(owner: object, *names: str, most: float) -> None:
    for name in names:
        value = getattr(owner, name)
        if not (isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= most):
            reject(owner, name, f"a number of seconds above 0 and up to {most:g}")


def check_flags(owner: object, *names: str) -> None:
    for name in names:
        if not isinstance(getattr(owner, name), bool):
            reject(owner, name, "True or False")


def check_texts(owner: object, *names: str) -> None:
    for name in names:
        if not isinstance(getattr(owner, name), str):
            reject(owner, name, "a text")


def check_callables(owner: object, *names: str) -> None:
    for name in names:
        if not callable(getattr(owner, name)):
            reject(owner, name, "a function")


def check_choice(owner: object, name: str, choices: Collection[str]) -> None:
    value = getattr(owner, name)
    if not (isinstance(value, str) and value in choices):
        reject(owner, name, " or ".join(map(repr, choices)))


def check_instance(owner: object, name: str, wanted: type) -> None:
    """Check that the field's value is of this very type."""
    if type(getattr(owner, name)) is not wanted:
        reject(owner, name, f"a {wanted.__name__} (no subclass)")


def check_collection(
    owner: object, name: str, kind: type[tuple[object, ...]] | type[frozenset[object]], of: type, wanted: str
) -> None:
    """Check that the field's value is a plain tuple or frozenset, and that everything in it is of this very type."""
    value = getattr(owner, name)
    if not (type(value) is kind and all(type(each) is of for each in value)):
        reject(owner, name, wanted)
