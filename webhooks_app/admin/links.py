"""Links from page to page of the admin: to a row, to the list of what belongs to a row."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import ValidationError
from django.db.models import Model
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from webhooks_app.deliveries.explain import format_timestamp
from webhooks_app.endpoints.queries import name_of
from webhooks_app.models import Delivery, Endpoint, Event, Tenant
from webhooks_app.templatetags.webhooks import breakable

#: Characters of a URL in a list.
MOST_OF_URL = 44
#: What lists are narrowed to, by the name of the parameter.
_SUBJECTS: dict[str, type[Model]] = {"tenant": Tenant, "endpoint": Endpoint, "event": Event, "delivery": Delivery}


def page_of(row: Model) -> str:
    """The URL of the row's page; empty where the host has no such page."""
    return _url(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", row.pk)


def list_of(model: type[Model], **narrowed: Any) -> str:
    """The URL of a list, narrowed by the fields that are named; empty where the host has no such list."""
    url = _url(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    wanted = {
        name if name in ("made", "status", "state", "q") else f"{name}__exact": value
        for name, value in narrowed.items()
    }
    return f"{url}?{urlencode(wanted)}" if url and wanted else url


def link(row: Model | None, text: object = None) -> SafeString | str:
    """A link to the row's page; a dash where there is no row."""
    if row is None:
        return "–"
    url, shown = page_of(row), str(text or row)
    return format_html('<a href="{}">{}</a>', url, shown) if url else shown


def id_link(row: Any) -> SafeString | str:
    """A link that shows the public id."""
    return "–" if row is None else link(row, row.public_id)


def endpoint_link(row: Endpoint | None, most: int | None = None) -> SafeString | str:
    """A link that shows the endpoint's name, cut to so many characters; the whole is beside the pointer then."""
    if row is None:
        return "–"
    return _long(name_of(row), most, lambda shown: link(row, shown))


def url_shown(url: str, most: int | None = None) -> SafeString:
    """Where a request went, without a link; the playground's address is ours, and leads nowhere."""
    return _long(name_of(Endpoint(url=url)), most, lambda shown: shown)


def _long(name: str, most: int | None, shown: Callable[[SafeString], SafeString | str]) -> SafeString:
    cut = Truncator(name).chars(most) if most else name
    title = format_html(' title="{}"', name) if cut != name else ""
    return format_html('<span class="webhooks-url"{}>{}</span>', title, shown(breakable(cut)))


def short_time(at: datetime | None) -> SafeString | str:
    """A time for lists, to the second, without what goes without saying; the whole is beside the pointer."""
    if at is None:
        return "–"
    local = timezone.localtime(at)
    day = date_format(local, "j M" if local.year == timezone.localtime().year else "j M Y")
    shown = f"{day} {local:%H:%M:%S}"
    return format_html('<time datetime="{}" title="{}">{}</time>', at.isoformat(), format_timestamp(at), shown)


def time(at: datetime | None) -> SafeString | str:
    """A time to the second, for people and for programs; a dash where there is none."""
    return "–" if at is None else format_html('<time datetime="{}">{}</time>', at.isoformat(), format_timestamp(at))


def subject_of(request: HttpRequest) -> str:
    """What the list is narrowed to, for its heading."""
    for name, model in _SUBJECTS.items():
        key = request.GET.get(f"{name}__exact")
        if key:
            try:
                row = model._default_manager.filter(pk=key).first()
            except ValidationError:  # no key at all: the list itself says so
                return ""
            return "" if row is None else str(row)
    return ""


def _url(name: str, *args: object) -> str:
    try:
        return reverse(name, args=args)
    except NoReverseMatch:
        return ""
