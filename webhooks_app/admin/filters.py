"""Filters for tables that may have millions of rows: only such as an index answers."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from webhooks_app.admin.dates import PARAMETER, Period
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.models import DeliveryStatus
from webhooks_app.models.ids import first_id

_SPANS = {
    "hour": (_("The last hour"), timedelta(hours=1)),
    "day": (_("The last 24 hours"), timedelta(days=1)),
    "week": (_("The last 7 days"), timedelta(days=7)),
}
#: What is looked through for a value of a column without an index, where nothing else bounds the list.
_WINDOW = timedelta(days=1)


class TimeFilter(admin.SimpleListFilter):
    """When the row was made, which its primary key tells: a span until now, or a period of the date hierarchy."""

    title = _("time")
    parameter_name = PARAMETER

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [(name, label) for name, (label, _span) in _SPANS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if value in _SPANS:
            return queryset.filter(pk__gte=first_id(timezone.now() - _SPANS[value][1]))
        period = Period.read(value)
        return period.rows(queryset) if period else queryset


class _BoundedFilter(admin.SimpleListFilter):
    """Of a column without an index: where nothing else bounds the list, it is about 24 hours: the last ones of the chosen
    year or month, or of all."""

    column = ""

    def __init__(self, request: HttpRequest, params: Any, model: Any, model_admin: Any) -> None:
        asked = {name.removesuffix("__exact"): value for name, value in request.GET.items() if value}
        made = str(asked.pop(TimeFilter.parameter_name, ""))
        self._period = Period.read(made)
        short = made in _SPANS or (self._period is not None and self._period.is_day)
        self._bounded = short or not asked.keys().isdisjoint(model_admin.narrowed_by)
        super().__init__(request, params, model, model_admin)
        if not self._bounded:
            text = _("%(what)s (in the last 24 hours)")
            if self._period:
                text = _("%(what)s (in the last 24 hours of %(period)s)")
            self.title = text % {"what": self.title, "period": self._period.title if self._period else ""}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        rows = queryset.filter(**{self.column: self.value()})
        if self._bounded:
            return rows
        end = min(self._period.end, timezone.now()) if self._period else timezone.now()
        return rows.filter(pk__gte=first_id(end - _WINDOW))


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
