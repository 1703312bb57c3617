"""JSON that a JavaScript receiver can parse and serialise again without changing a byte.

Some receivers verify over `JSON.stringify(JSON.parse(body))` instead of the body. `rewrite` gives the text for which
both are the same, as ECMA-262 defines them (Number::toString, OrdinaryOwnPropertyKeys, well-formed JSON.stringify).
Numbers that JavaScript cannot represent are changed deliberately: an integer beyond ±(2⁵³−1) becomes a string of its digits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from json.encoder import encode_basestring
from typing import Any

from webhooks_app.exceptions import InvalidEvent

MAX_SAFE_INTEGER = 2**53 - 1
#: 2³²−1 is no array index any more: JavaScript keeps that key where it was written.
_LAST_INDEX = 2**32 - 2
_INDEX = re.compile(r"0|[1-9][0-9]{0,9}", re.ASCII)
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def loads(text: str) -> Any:
    """Parse JSON for `dumps`. The last of equal keys wins; integers beyond ±(2⁵³−1) become strings."""
    try:
        return _DECODER.decode(escape_surrogates(text))
    except RecursionError as error:
        raise InvalidEvent("The data is nested too deeply.") from error


def dumps(value: object) -> str:
    """Return a value of `loads` as compact JSON, byte for byte like JSON.stringify. Raises InvalidEvent for a number that is
    not finite, or if the nesting is too deep."""
    try:
        return escape_surrogates(_WRITERS[type(value)](value))
    except RecursionError as error:
        raise InvalidEvent("The data is nested too deeply.") from error
    except KeyError as error:
        raise InvalidEvent(f"JSON has no {error.args[0].__name__}.") from error


def escape_surrogates(text: str) -> str:
    """Join surrogate pairs; escape unpaired surrogates as `\\udxxx`. The result can be encoded as UTF-8.

    Text without surrogates, nearly all there is, is returned unchanged.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        whole = _PAIR.sub(lambda pair: pair[0].encode("utf-16-le", "surrogatepass").decode("utf-16-le"), text)
        return _SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", whole)
    return text


def number(value: float) -> str:
    """Return a float as JavaScript prints it. Python finds the same shortest digits; only the notation differs."""
    if value != value or value in (float("inf"), float("-inf")):
        raise InvalidEvent("The data has a number that is not finite.")
    if value == 0:
        return "0"  # −0 too
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    digits = (whole + fraction).lstrip("0")
    # The value is 0.DIGITS × 10^point.
    point = len(whole.lstrip("0")) + int(exponent or 0)
    if not whole.lstrip("0"):
        point -= len(fraction) - len(fraction.lstrip("0"))
    return ("-" if value < 0 else "") + _notation(digits.rstrip("0"), point)


def _notation(digits: str, point: int) -> str:
    """The four cases of Number::toString."""
    count = len(digits)
    if count <= point <= 21:
        return digits + "0" * (point - count)
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"0.{'0' * -point}{digits}"
    shown = digits if count == 1 else f"{digits[0]}.{digits[1:]}"
    return f"{shown}e{point - 1:+d}"


def _write_object(value: dict[str, Any]) -> str:
    members = [f"{encode_basestring(key)}:{_WRITERS[type(value[key])](value[key])}" for key in _ordered(value)]
    return "{" + ",".join(members) + "}"


def _write_array(value: list[Any]) -> str:
    return "[" + ",".join([_WRITERS[type(item)](item) for item in value]) + "]"


#: By exact type, because `loads` returns exact types, and true is not a whole number. The callers look the writer up
#: themselves: a function would use one more stack frame per level, so less nesting could be written.
_WRITERS: dict[type, Callable[[Any], str]] = {
    str: encode_basestring,
    int: int.__repr__,
    float: number,
    bool: {True: "true", False: "false"}.__getitem__,
    type(None): lambda value: "null",
    dict: _write_object,
    list: _write_array,
}


def _ordered(keys: dict[str, Any]) -> list[str]:
    """Return keys in JavaScript's order: those that look like array indexes first, by value; then the others as given."""
    indexes = [key for key in keys if key[:1] in "0123456789" and _INDEX.fullmatch(key) and int(key) <= _LAST_INDEX]
    if not indexes:
        return list(keys)
    known = set(indexes)
    return sorted(indexes, key=int) + [key for key in keys if key not in known]


def _integer(text: str) -> int | str:
    # Compared by length first: Python refuses to convert thousands of digits.
    if len(text) > 17 or abs(int(text)) > MAX_SAFE_INTEGER:
        return text
    return int(text)


def _refuse(name: str) -> None:
    raise InvalidEvent(f"The data has {name}, which JSON does not know.")


#: Made once: json.loads with these hooks would make one at every call.
_DECODER = json.JSONDecoder(parse_int=_integer, parse_constant=_refuse)
