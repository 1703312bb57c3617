"""Read the values of a DER document one level at a time, without a library that computes with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

INTEGER: Final = 0x02
OCTET_STRING: Final = 0x04
OID: Final = 0x06
SEQUENCE: Final = 0x30
#: A value with an explicit tag, as optional parts have it.
TAGGED_0: Final = 0xA0

#: Tag and content of a value.
Item = tuple[int, bytes]


def sequence(data: bytes) -> list[Item]:
    """Return the values of the sequence that the data consists of. Raises ValueError if it is not DER."""
    [content] = contents(items(data), SEQUENCE, exact=True)
    return items(content)


def items(data: bytes) -> list[Item]:
    """Return the values that follow each other in the data. Raises ValueError if it is not DER."""
    found: list[Item] = []
    position = 0
    while position < len(data):
        tag, size, position = data[position], *_length(data, position + 1)
        if position + size > len(data):
            raise ValueError("a value that is longer than the file")
        found.append((tag, data[position : position + size]))
        position += size
    return found


def contents(values: Sequence[Item], *tags: int, exact: bool = False) -> list[bytes]:
    """Return the contents of the first values, which must have these tags. Raises ValueError if they do not; with `exact` also if
    there are more values."""
    if tuple(tag for tag, _ in values[: len(tags)]) != tags or (exact and len(values) > len(tags)):
        raise ValueError("other values than expected")
    return [content for _, content in values[: len(tags)]]


def number(content: bytes) -> int:
    """Return the content of an INTEGER. Raises ValueError if it is negative."""
    if not content or content[0] >= 0x80:
        raise ValueError("a negative number, or none")
    return int.from_bytes(content, "big")


def _length(data: bytes, position: int) -> tuple[int, int]:
    """Return the length that is encoded at this position, and the position after it."""
    first = data[position] if position < len(data) else 0x80
    if first < 0x80:
        return first, position + 1
    end = position + 1 + first - 0x80
    size = int.from_bytes(data[position + 1 : end], "big")
    if size < 0x80 or end > len(data):
        raise ValueError("an indefinite length, which DER does not have, or one that is not complete")
    return size, end
