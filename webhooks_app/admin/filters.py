"""Filters for tables with millions of rows: each filter can use an index."""

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
from webhooks_app.deliveries.outcomes import outcome_name
from webhooks_app.models import DeliveryStatus, EndpointStatus
from webhooks_app.models.ids import first_id
from webhooks_app.templatetags.webhooks import state_name

_SPANS = {
    "hour": (_("The last hour"), timedelta(hours=1)),
    "day": (_("The last 24 hours"), timedelta(days=1)),
    "week": (_("The last 7 days"), timedelta(days=7)),
}
#: The time span searched for a value of a column without an index, if nothing else limits the list.
_WINDOW = timedelta(days=1)


class TimeFilter(admin.SimpleListFilter):
    """When the row was created, from its primary key: a span until now, or a period of the date hierarchy."""

    title = _("time")
    parameter_name = PARAMETER

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [(name, label) for name, (label, _span) in _SPANS.items()]

    @classmethod
    def is_nonsense(cls, request: HttpRequest) -> bool:
        """Return whether the URL contains an invalid time."""
        made = request.GET.get(cls.parameter_name, "")
        return bool(made) and made not in _SPANS and Period.read(made) is None

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if value in _SPANS:
            return queryset.filter(pk__gte=first_id(timezone.now() - _SPANS[value][1]))
        period = Period.read(value)
        return period.rows(queryset) if period else queryset


class _BoundedFilter(admin.SimpleListFilter):
    """A filter on a column without an index.

    If nothing else limits the list, it covers 24 hours: the last ones of the chosen year or month, or of all rows.
    """

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
        return [(status.value, state_name(status.value)) for status in DeliveryStatus]


class OutcomeFilter(_BoundedFilter):
    title = _("outcome")
    parameter_name = column = "outcome"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        names = {kind.value: str(outcome_name(kind)) for kind in OutcomeKind}
        # Customers do not need to distinguish the two outcomes of an unsent request.
        names[OutcomeKind.QUARANTINED.value] += f" ({_('quarantined')})"
        return list(names.items())


class EndpointStatusFilter(admin.SimpleListFilter):
    """Filter by stored status, or by “failing”, which is a part of the active ones. There are thousands of endpoints, not
    millions."""

    title = _("status")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        states = [(status.value, state_name(status.value)) for status in EndpointStatus]
        return [*states[:1], ("failing", _("failing")), *states[1:]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "failing":
            return queryset.filter(status=EndpointStatus.ACTIVE, queue__failing_since__isnull=False)
        return queryset.filter(status=self.value()) if self.value() else queryset


class LabelledFilter(admin.BooleanFieldListFilter):
    """Filter by yes or no, under the field's label."""

    def __init__(self, field: Any, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(field, request, *args, **kwargs)
        label = str(field.verbose_name)
        self.title = label[:1].lower() + label[1:]


class EventStateFilter(admin.SimpleListFilter):
    """Filter by event state. Both states are rare and have their own indexes."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [("unmade", _("without deliveries yet")), ("quarantined", _("quarantined"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "unmade":
            return queryset.filter(fanned_out_at__isnull=True)
        return queryset.exclude(quarantine_reason="") if self.value() == "quarantined" else queryset
