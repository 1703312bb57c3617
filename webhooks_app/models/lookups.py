"""`any_of`: an IN for long lists of ids."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from django.db.models import BooleanField, F, Func, UUIDField


class _AnyOf(Func):
    """`column IN (…)`; on PostgreSQL `column = ANY(array)`: there one parameter, an array literal, where IN has one each,
    and with psycopg quoting 500 values one by one costs more than the statement itself."""

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
        return f"{column} = ANY(%s::uuid[])", (*params, f"{{{','.join([value.hex for value in self.values])}}}")


def any_of(field: str, ids: Iterable[uuid.UUID]) -> _AnyOf:
    """A condition for `filter()`: the UUID field (a path over joins is fine) is one of `ids`; none where that is empty."""
    return _AnyOf(F(field), list(ids))
