"""Primary keys and public ids: UUIDv7, generated here and not by the database, so that rows can be written in bulk."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import uuid_utils.compat

#: Namespace of all ids that are derived from names instead of the time.
NAMESPACE = uuid.UUID("6d0f9a3e-2b57-5f5e-9c0e-7a1f4b1d9e42")


def new_id() -> uuid.UUID:
    """Return a new UUIDv7. Ids of one process are strictly increasing, also within a millisecond."""
    return uuid_utils.compat.uuid7()


def first_id(moment: datetime) -> uuid.UUID:
    """Return the lowest possible id of this millisecond: it turns "before this time" into a range of the primary key."""
    milliseconds = max(int(moment.timestamp() * 1000), 0)
    return uuid.UUID(int=(milliseconds << 80) | (0x7 << 76) | (0x2 << 62))


def made_at(key: uuid.UUID) -> datetime | None:
    """Return when the id was generated, to the millisecond; None if the id has no valid time."""
    try:
        return datetime.fromtimestamp((key.int >> 80) / 1000, UTC) if key.version == 7 else None
    except (ValueError, OverflowError):  # its 48 bits reach beyond the year 9999
        return None


def derived_id(*parts: str) -> uuid.UUID:
    """Return a deterministic id for these parts (UUIDv5)."""
    return uuid.uuid5(NAMESPACE, "\x1f".join(parts))


def public_id(prefix: str, key: uuid.UUID) -> str:
    """Return the public id, such as `evt_0197…`. It has no hyphens, and no dot (the signature's separator)."""
    return f"{prefix}_{key.hex}"


def parse_public_id(text: str, prefix: str) -> uuid.UUID | None:
    """Return the primary key of a public id, with or without its prefix; None if the text is not such an id."""
    bare = text.removeprefix(f"{prefix}_")
    try:
        return uuid.UUID(bare)
    except ValueError:
        return None
