"""Primary keys and public ids: UUIDv7, made here and not by the database, so that rows can be written in bulk."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import uuid_utils.compat

#: Namespace of every id that is derived from a name instead of made from the time.
NAMESPACE = uuid.UUID("6d0f9a3e-2b57-5f5e-9c0e-7a1f4b1d9e42")


def new_id() -> uuid.UUID:
    """A UUIDv7. Ids of one process are strictly increasing, also within a millisecond."""
    return uuid_utils.compat.uuid7()


def first_id(moment: datetime) -> uuid.UUID:
    """The lowest id that can be made in this millisecond: turns "before this time" into a range of the primary key."""
    milliseconds = max(int(moment.timestamp() * 1000), 0)
    return uuid.UUID(int=(milliseconds << 80) | (0x7 << 76) | (0x2 << 62))


def made_at(key: uuid.UUID) -> datetime | None:
    """When the id was made, to the millisecond; None for one that does not tell."""
    try:
        return datetime.fromtimestamp((key.int >> 80) / 1000, UTC) if key.version == 7 else None
    except (ValueError, OverflowError):  # its 48 bits reach beyond the year 9999
        return None


def derived_id(*parts: str) -> uuid.UUID:
    """The same id for the same parts, everywhere and always (UUIDv5)."""
    return uuid.uuid5(NAMESPACE, "\x1f".join(parts))


def public_id(prefix: str, key: uuid.UUID) -> str:
    """`evt_0197…`: what people and receivers see. Without hyphens, and without a dot (the signature's separator)."""
    return f"{prefix}_{key.hex}"


def parse_public_id(text: str, prefix: str) -> uuid.UUID | None:
    """The key behind a public id, with or without its prefix; None where the text is no such id."""
    bare = text.removeprefix(f"{prefix}_")
    try:
        return uuid.UUID(bare)
    except ValueError:
        return None
