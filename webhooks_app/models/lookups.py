"""Query helpers: `any_of`, an IN for long lists of ids; `for_change`, which locks rows; `count_up_to`, for tables that are too
large to count."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any, TypeVar

from django.db import connections
from django.db.models import BooleanField, F, Func, QuerySet, UUIDField

Rows = TypeVar("Rows", bound=QuerySet[Any])


class _AnyOf(Func):
    """The condition `column IN (…)`; on PostgreSQL `column = ANY(array)` with one parameter, an array literal: with psycopg,
    quoting 500 values one by one costs more than the statement itself."""

    conditional = True
    output_field = BooleanField()

    def __init__(self, column: Any, values: list[uuid.UUID]) -> None:
        super().__init__(column)
        self.values = values

    def as_sql(self, compiler: Any, connection: Any, **_: Any) -> tuple[str, tuple[Any, ...]]:  # type: ignore[override]
        column, params = compiler.compile(self.source_expressions[0])
        if not self.values:
            return "1 = 0", ()
        adapted = [UUIDField().get_db_prep_value(value, connection) for value in self.values]
        return f"{column} IN ({', '.join(['%s'] * len(adapted))})", (*params, *adapted)

    def as_postgresql(self, compiler: Any, connection: Any, **_: Any) -> tuple[str, tuple[Any, ...]]:
        column, params = compiler.compile(self.source_expressions[0])
        return f"{column} = ANY(%s::uuid[])", (*params, array_literal(self.values))


def any_of(field: str, ids: Iterable[uuid.UUID]) -> _AnyOf:
    """Return a condition for `filter()`: the UUID field (or a path over joins) is one of `ids`. Empty `ids` match nothing."""
    return _AnyOf(F(field), list(ids))


def array_literal(values: Iterable[Any]) -> str:
    """Return values as one PostgreSQL array literal. psycopg would adapt each value separately, which costs more than the
    statement. Not for untrusted text: nothing is quoted."""
    return f"{{{','.join([_element(value) for value in values])}}}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, uuid.UUID):
        return value.hex
    return value.isoformat() if isinstance(value, datetime) else str(value)


def for_change(rows: Rows, *, skip_locked: bool = False) -> Rows:
    """Lock the rows until the transaction ends, still allowing foreign keys to them if the database supports that.

    `skip_locked`: skip rows that another transaction has locked, if the database supports that.
    """
    features = connections[rows.db].features
    return rows.select_for_update(
        no_key=features.has_select_for_no_key_update,
        skip_locked=skip_locked and features.has_select_for_update_skip_locked,
    )


def count_up_to(rows: QuerySet[Any], most: int) -> int:
    """Return the number of rows, counted up to `most`. Keeps the queryset's order, so that its index is used."""
    return rows[:most].count()
