"""Base classes of all staff pages: our database, our search, and lists that stay fast on tables of any size."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import SEARCH_VAR, ChangeList
from django.core.paginator import Paginator
from django.db.models import Field, Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from webhooks_app.admin.dates import DatedChangeList
from webhooks_app.admin.filters import TimeFilter
from webhooks_app.admin.links import endpoint_link, link, short_time, subject_of, time
from webhooks_app.admin.payloads import may_see_payloads, record_payload_views
from webhooks_app.models.ids import parse_public_id
from webhooks_app.models.lookups import any_of, count_up_to

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin

#: The most rows available through pages; older rows are found by search or by date.
MOST_PAGED = 1000
#: Maps a text to the primary keys that it may mean; see `admin.search`.
Search = Callable[..., list[uuid.UUID]]


def field_label(model: type[Model], field: str) -> Any:
    """Return the model's name of the field, for columns that format it themselves."""
    return model._meta.get_field(field).verbose_name  # type: ignore[union-attr]


def related(row: Model, name: str) -> Any:
    """Return the row that a foreign key points to; None if it was removed. High-volume keys have no constraint."""
    field: Field[Any, Any] = row._meta.get_field(name)  # type: ignore[assignment]
    try:
        return getattr(row, name)
    except field.related_model.DoesNotExist:  # type: ignore[union-attr]
        return None


def time_column(description: Any, field: str, show: Callable[[Any], SafeString | str] = time) -> Any:
    """Return a column for the body of an admin class. It shows the time in this field of the row."""

    @admin.display(description=description)
    def column(model_admin: StaffAdmin, row: Model) -> SafeString | str:
        return show(getattr(row, field))

    return column


class StaffAdmin(_ModelAdmin):
    """A page for staff. `prefix` is that of the model's public ids; pages can also be opened by public id."""

    prefix: ClassVar[str] = ""
    finds: ClassVar[Search | None] = None
    #: Django shows the search field only if this is not empty; `finds` does the search.
    search_fields: ClassVar[Any] = ()
    #: Fields by which a URL may filter the list, besides its filters. Others are refused, so that encrypted values cannot be
    #: guessed.
    narrowed_by: ClassVar[tuple[str, ...]] = ()
    #: Related rows to fetch by key: a join might start with the wrong table, and would hide rows whose related row is gone.
    fetched: ClassVar[tuple[str, ...]] = ()
    #: Fields that are not read with the rows, because they are long or never shown.
    deferred: ClassVar[tuple[str, ...]] = ()
    #: Whether a row's page shows a payload. Who looks at it is recorded in the audit log.
    shows_payload: ClassVar[bool] = False
    list_per_page = 50
    list_max_show_all = 50
    ordering: ClassVar[Any] = ("-pk",)
    sortable_by: ClassVar[Any] = ()
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    actions_on_bottom = False

    class Media:
        css: ClassVar[dict[str, list[str]]] = {"all": ["webhooks_app/charts.css", "webhooks_app/admin.css"]}

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return DatedChangeList if TimeFilter in self.list_filter else super().get_changelist(request, **kwargs)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related(*self.fetched).defer(*self.deferred)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        key = parse_public_id(object_id, self.prefix) if self.prefix and not from_field else None
        return super().get_object(request, object_id if key is None else str(key), from_field)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        text, find = search_term.strip(), type(self).finds
        if "\x00" in text:
            return queryset.none(), False
        if not text or find is None:
            return super().get_search_results(request, queryset, search_term)
        return queryset.filter(any_of("pk", find(text))), False

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Return the change list.

        Raises IncorrectLookupParameters, for which Django shows the whole list, if a filter contains characters that
        PostgreSQL cannot store. A search with them finds nothing.
        """
        asked = [value for name, values in request.GET.lists() if name != SEARCH_VAR for value in values]
        if any("\x00" in value for value in asked):
            raise IncorrectLookupParameters("A NUL character.")
        listed = super().get_changelist_instance(request)
        listed.title = str(self.opts.verbose_name_plural)
        return listed

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        filters = {_narrowed(one) for one in self.list_filter}
        known = lookup.partition("__")[0] in filters.union(self.narrowed_by)
        return known and super().lookup_allowed(lookup, value, request)  # type: ignore[arg-type]  # it may be None

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if TimeFilter in self.list_filter and TimeFilter.is_nonsense(request):
            text = _("“%(made)s” is not a time: nothing is filtered by it.")
            self.message_user(request, text % {"made": request.GET[TimeFilter.parameter_name]}, messages.WARNING)
        context = {"subtitle": subject_of(request), **(extra_context or {})}
        return super().changelist_view(request, context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        # Django renders the page for every other method, OPTIONS too.
        row = None if request.method == "POST" else self.get_object(request, object_id)
        if row is not None and self.has_view_permission(request, row):
            extra_context = {**self.page_context(request, row), **(extra_context or {})}
            if self.shows_payload and may_see_payloads(request):
                record_payload_views(request, [row])
        return super().change_view(request, object_id, form_url, extra_context)

    def page_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Return the context of a row's page, besides its fields."""
        return {}

    def may(self, request: HttpRequest, permission: str) -> bool:
        """Return whether the user has this permission of the app."""
        user: Any = request.user
        return bool(user.has_perm(f"{self.opts.app_label}.{permission}"))

    # --- columns of several models ------------------------------------------------------------------------------------

    made = time_column(gettext_lazy("made"), "created_at")
    made_shortly = time_column(gettext_lazy("made"), "created_at", short_time)

    @admin.display(description=gettext_lazy("id"))
    def shown_id(self, row: Any) -> str:
        return str(row.public_id)

    @admin.display(description=gettext_lazy("tenant"))
    def of_tenant(self, row: Any) -> SafeString | str:
        return link(related(row, "tenant"))

    @admin.display(description=gettext_lazy("endpoint"))
    def of_endpoint(self, row: Any) -> SafeString | str:
        return endpoint_link(related(row, "endpoint"))


class ReadOnlyAdmin(StaffAdmin):
    """A page for rows that only the app writes: users cannot add, change or delete them."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """A paginator that counts up to MOST_PAGED, in the order of the list, so that it reads an index and never the table."""

    #: Tells the template that the list may not show all rows.
    capped = True

    @cached_property
    def count(self) -> int:
        return count_up_to(self.object_list, MOST_PAGED)  # type: ignore[arg-type]

    @property
    def more(self) -> bool:
        """Return whether there are rows beyond the last page."""
        return self.count >= MOST_PAGED


class LargeTableAdmin(ReadOnlyAdmin):
    """A page for tables with millions of rows: newest first, by primary key, and counted only as far as the pages go.

    Filters of such a list must be the leading columns of an index.
    """

    paginator = BoundedPaginator

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        filters = {getattr(one, "parameter_name", "") for one in self.list_filter}
        return lookup in filters or lookup in {f"{name}__exact" for name in self.narrowed_by}


def _narrowed(one: Any) -> str:
    """Return the field that an entry of `list_filter` is about."""
    name = one[0] if isinstance(one, tuple) else one
    return name if isinstance(name, str) else str(getattr(name, "parameter_name", ""))
