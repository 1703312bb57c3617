"""Django's date hierarchy for tables of any size.

Years, months and days are ranges of the primary key, which contains the time. This costs one query for the oldest key, while
Django's own hierarchy reads the whole table.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final

from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from webhooks_app.models.ids import first_id, made_at

#: The parameter that names a period in a URL: `?made=2026`, `?made=2026-11`, `?made=2026-11-03`.
PARAMETER: Final = "made"
_FORMATS: Final = ("%Y", "%Y-%m", "%Y-%m-%d")
_SHOWN: Final = ("Y", "YEAR_MONTH_FORMAT", "DATE_FORMAT")
_YEAR, _MONTH, _DAY = range(3)


@dataclass(frozen=True)
class Period:
    """A year, a month or a day in the reader's time zone."""

    depth: int
    start: datetime
    end: datetime

    @classmethod
    def of(cls, depth: int, moment: datetime) -> Period:
        """Return the period that contains the moment. Raises ValueError or OverflowError if it ends after the year 9999."""
        month = 1 if depth == _YEAR else moment.month
        first = datetime(moment.year, month, moment.day if depth == _DAY else 1)
        days = (366 if calendar.isleap(first.year) else 365, calendar.monthrange(first.year, first.month)[1], 1)[depth]
        return cls(depth, timezone.make_aware(first), timezone.make_aware(first + timedelta(days=days)))

    @classmethod
    def read(cls, text: str | None) -> Period | None:
        """Parse a URL parameter; return None if it is not a period."""
        for depth, form in enumerate(_FORMATS):
            try:
                return cls.of(depth, datetime.strptime(text or "", form))
            except (ValueError, OverflowError):
                continue
        return None

    @property
    def value(self) -> str:
        return self.start.strftime(_FORMATS[self.depth])

    @property
    def title(self) -> str:
        return capfirst(date_format(self.start, _SHOWN[self.depth]))

    @property
    def is_day(self) -> bool:
        return self.depth == _DAY

    @property
    def around(self) -> Period | None:
        return None if self.depth == _YEAR else Period.of(self.depth - 1, self.start)

    def rows(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(pk__gte=first_id(self.start), pk__lt=first_id(self.end))

    def parts(self, oldest: datetime, newest: datetime) -> list[Period]:
        """Return its months or days that can contain rows."""
        return list(
            _periods(self.depth + 1, max(self.start, oldest), min(self.end - timedelta(microseconds=1), newest))
        )


class DatedChangeList(ChangeList):
    """A change list with the steps of the date hierarchy; the template renders them like Django's own."""

    @cached_property
    def dates(self) -> dict[str, Any]:
        """Return the context of Django's `admin/date_hierarchy.html`: `back` and `choices`; empty if there are no rows."""
        key = self.root_queryset.order_by("pk").values_list("pk", flat=True).first()
        oldest = made_at(key) if key else None
        if oldest is None:
            return {}
        oldest, newest = timezone.localtime(oldest), timezone.localtime()
        chosen = Period.read(self.params.get(PARAMETER))
        if chosen is None:
            return {"back": None, "choices": self._choices(_first_choices(oldest, newest))}
        around = chosen.around
        back = {"link": self._link(around), "title": around.title if around else _("All dates")}
        if chosen.is_day:
            return {"back": back, "choices": [{"title": chosen.title}]}
        return {"back": back, "choices": self._choices(chosen.parts(oldest, newest))}

    def _choices(self, periods: list[Period]) -> list[dict[str, str]]:
        return [{"link": self._link(one), "title": one.title} for one in periods]

    def _link(self, period: Period | None) -> str:
        return str(self.get_query_string({PARAMETER: period.value if period else None}))


def _first_choices(oldest: datetime, newest: datetime) -> list[Period]:
    """Return years; months if all rows are from one year, and days if all are from one month."""
    for depth in (_YEAR, _MONTH):
        periods = list(_periods(depth, oldest, newest))
        if len(periods) > 1:
            return periods
    return list(_periods(_DAY, oldest, newest))


def _periods(depth: int, first: datetime, last: datetime) -> Iterator[Period]:
    while first <= last:
        period = Period.of(depth, timezone.localtime(first))
        yield period
        first = period.end
