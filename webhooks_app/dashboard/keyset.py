"""Long lists, newest first, by key: a page costs the same wherever it is."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Generic, TypeVar

from django.db.models import Model, QuerySet

from webhooks_app.exceptions import NotFound

Row = TypeVar("Row", bound=Model)

#: The parameter of a page's address that says where it begins.
BEFORE = "before"
SIZE = 50
#: Where most rows do not fit, so many are looked at for one page.
REACH = 2000


@dataclass(frozen=True, slots=True)
class Slice(Generic[Row]):
    """One page of a list."""

    rows: list[Row]
    #: For BEFORE of the page with what is older; empty: this is the last one.
    older: str
    #: Is there anything newer?
    later: bool


def newest(rows: QuerySet[Row], before: str, *, size: int = SIZE) -> Slice[Row]:
    """The `size` newest rows older than `before`; all where that is empty. Ids must be UUIDs that grow with time.

    Raises NotFound for a `before` that is none.
    """
    found = list(_older(rows, before).order_by("-pk")[: size + 1])
    more = found[size - 1].pk.hex if len(found) > size else ""
    return Slice(found[:size], more, bool(before))


def newest_of(rows: QuerySet[Row], fitting: QuerySet[Row], before: str, *, size: int = SIZE) -> Slice[Row]:
    """As `newest`, of those of the rows that are `fitting`, where no index finds them: they are looked for among REACH of
    the rows. What is older is on the next page, so that one may be empty, and not be the last."""
    edge = _older(rows, before).order_by("-pk").values_list("pk", flat=True)[REACH - 1 : REACH]
    last = next(iter(edge), None)
    found = newest(fitting if last is None else fitting.filter(pk__gte=last), before, size=size)
    return Slice(found.rows, found.older or (last.hex if last else ""), found.later)


def _older(rows: QuerySet[Row], before: str) -> QuerySet[Row]:
    if not before:
        return rows
    try:
        return rows.filter(pk__lt=uuid.UUID(before))
    except ValueError:
        raise NotFound() from None
