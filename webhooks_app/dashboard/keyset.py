"""Keyset pagination of long lists, newest first: each page costs the same."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Generic, TypeVar

from django.db.models import Model, QuerySet

from webhooks_app.exceptions import NotFound

Row = TypeVar("Row", bound=Model)

#: The URL parameter that says where a page begins.
BEFORE = "before"
SIZE = 50
#: The number of rows examined for one page, if most rows do not match.
REACH = 2000


@dataclass(frozen=True, slots=True)
class Slice(Generic[Row]):
    """One page of a list."""

    rows: list[Row]
    #: Value of BEFORE for the next older page; empty on the last page.
    older: str
    #: Whether there are newer rows.
    later: bool


def newest(rows: QuerySet[Row], before: str, *, size: int = SIZE) -> Slice[Row]:
    """Return the `size` newest rows older than `before`, or the newest of all if it is empty. Ids must be time-ordered UUIDs.

    Raises NotFound if `before` is not a UUID.
    """
    found = list(_older(rows, before).order_by("-pk")[: size + 1])
    more = found[size - 1].pk.hex if len(found) > size else ""
    return Slice(found[:size], more, bool(before))


def newest_of(rows: QuerySet[Row], fitting: QuerySet[Row], before: str) -> Slice[Row]:
    """Return a page like `newest`, of the rows that are also in `fitting`, for conditions without an index.

    It examines REACH of the rows and leaves older ones to the next page, so a page may be empty without being the last.
    """
    edge = _older(rows, before).order_by("-pk").values_list("pk", flat=True)[REACH - 1 : REACH]
    last = next(iter(edge), None)
    found = newest(fitting if last is None else fitting.filter(pk__gte=last), before)
    return Slice(found.rows, found.older or (last.hex if last else ""), found.later)


def _older(rows: QuerySet[Row], before: str) -> QuerySet[Row]:
    if not before:
        return rows
    try:
        return rows.filter(pk__lt=uuid.UUID(before))
    except ValueError:
        raise NotFound() from None
