"""Filters for tables that may have millions of rows: only such as an index answers."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext_lazy as _

from webhooks_app.core.retry import OutcomeKind
from webhooks_app.models import DeliveryStatus
from webhooks_app.models.ids import first_id

_SPANS = {
    "hour": (_("The last hour"), timedelta(hours=1)),
    "day": (_("The last 24 hours"), timedelta(days=1)),
    "week": (_("The last 7 days"), timedelta(days=7)),
}
#: Days that are offered one by one.
_DAYS = 7


class TimeFilter(admin.SimpleListFilter):
    """When the row was made, which its primary key tells: a span, or one of the last days in the reader's time zone.
    `?made=2026-11-03` takes any day."""

    title = _("time")
    parameter_name = "made"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        today = timezone.localdate()
        days = [today - timedelta(days=back) for back in range(_DAYS)]
        chosen = _day(self.value())
        if chosen is not None and chosen[0].date() not in days:
            days.append(chosen[0].date())
        spans = [(name, label) for name, (label, _span) in _SPANS.items()]
        return [*spans, *((day.isoformat(), date_format(day, "DATE_FORMAT")) for day in days)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if value in _SPANS:
            return queryset.filter(pk__gte=first_id(timezone.now() - _SPANS[value][1]))
        day = _day(value)
        if day is None:
            return queryset
        return queryset.filter(pk__gte=first_id(day[0]), pk__lt=first_id(day[1]))


class _BoundedFilter(admin.SimpleListFilter):
    """Of a column without an index: where nothing else bounds the list, it is about the last 24 hours."""

    column = ""

    def __init__(self, request: HttpRequest, params: Any, model: Any, model_admin: Any) -> None:
        asked = {name.removesuffix("__exact") for name, value in request.GET.items() if value}
        self._bounded = not asked.isdisjoint({TimeFilter.parameter_name, *model_admin.narrowed_by})
        super().__init__(request, params, model, model_admin)
        if not self._bounded:
            self.title = _("%(what)s (in the last 24 hours)") % {"what": self.title}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        rows = queryset.filter(**{self.column: self.value()})
        return rows if self._bounded else rows.filter(pk__gte=first_id(timezone.now() - timedelta(days=1)))


class StatusFilter(_BoundedFilter):
    title = _("status")
    parameter_name = column = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return DeliveryStatus.choices


class OutcomeFilter(_BoundedFilter):
    title = _("outcome")
    parameter_name = column = "outcome"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [(kind.value, kind.value) for kind in OutcomeKind]


class EventStateFilter(admin.SimpleListFilter):
    """Both states are rare and have indexes of their own."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [("unmade", _("without deliveries yet")), ("quarantined", _("quarantined"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "unmade":
            return queryset.filter(fanned_out_at__isnull=True)
        return queryset.exclude(quarantine_reason="") if self.value() == "quarantined" else queryset


def _day(value: str | None) -> tuple[datetime, datetime] | None:
    """Beginning and end of the day that is written so, in the reader's time zone; None where the text is no day."""
    try:
        start = timezone.make_aware(datetime.strptime(value or "", "%Y-%m-%d"))
        return start, start + timedelta(days=1)
    except (ValueError, OverflowError):  # after the last day of year 9999 comes none
        return None
