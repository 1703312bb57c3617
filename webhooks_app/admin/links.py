"""Links between admin pages: to a row, or to the list of a row's related objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import ValidationError
from django.db.models import Model
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext as _

from webhooks_app.core.playground import is_playground_url
from webhooks_app.deliveries.explain import format_timestamp
from webhooks_app.endpoints.queries import name_of
from webhooks_app.models import Delivery, Endpoint, Event, Tenant
from webhooks_app.templatetags.webhooks import breakable

#: The most characters of a URL in a list.
MOST_OF_URL = 44
#: The models that lists can be filtered by, by the name of the parameter.
_SUBJECTS: dict[str, type[Model]] = {"tenant": Tenant, "endpoint": Endpoint, "event": Event, "delivery": Delivery}


def page_of(row: Model) -> str:
    """Return the URL of the row's page; empty if the host has removed that page."""
    return _url(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", row.pk)


def list_of(model: type[Model], **narrowed: Any) -> str:
    """Return the URL of a list, filtered by the given fields; empty if the host has removed that list."""
    url = _url(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    wanted = {
        name if name in ("made", "status", "state", "q") else f"{name}__exact": value
        for name, value in narrowed.items()
    }
    return f"{url}?{urlencode(wanted)}" if url and wanted else url


def link(row: Model | None, text: object = None) -> SafeString | str:
    """Return a link to the row's page; a dash if there is no row."""
    if row is None:
        return "–"
    url, shown = page_of(row), str(text or row)
    return format_html('<a href="{}">{}</a>', url, shown) if url else shown


def id_link(row: Any) -> SafeString | str:
    """Return a link that shows the public id."""
    return "–" if row is None else link(row, row.public_id)


def link_list(links: Iterable[tuple[str, Any]]) -> SafeString:
    """Return the links (URL and text) as a list, without those whose URL is empty."""
    shown = format_html_join("", '<li><a href="{}">{}</a></li>', (one for one in links if one[0]))
    return format_html('<ul class="webhooks-links">{}</ul>', shown)


def endpoint_link(row: Endpoint | None, most: int | None = None) -> SafeString | str:
    """Return a link that shows the endpoint's name, cut to `most` characters; a tooltip then shows the full name."""
    if row is None:
        return "–"
    return _long(name_of(row), most, lambda shown: link(row, shown))


def url_shown(url: str, most: int | None = None) -> SafeString:
    """Return the URL of a request as text without a link; the playground's internal URL is not shown."""
    return _long(_("Playground") if is_playground_url(url) else url, most, lambda shown: shown)


def _long(name: str, most: int | None, shown: Callable[[SafeString], SafeString | str]) -> SafeString:
    cut = Truncator(name).chars(most) if most else name
    title = format_html(' title="{}"', name) if cut != name else ""
    return format_html('<span class="webhooks-url"{}>{}</span>', title, shown(breakable(cut)))


def short_time(at: datetime | None) -> SafeString | str:
    """Return a short time for lists, to the second; a tooltip shows the full time."""
    if at is None:
        return "–"
    local = timezone.localtime(at)
    day = date_format(local, "j M" if local.year == timezone.localtime().year else "j M Y")
    shown = f"{day} {local:%H:%M:%S}"
    return format_html('<time datetime="{}" title="{}">{}</time>', at.isoformat(), format_timestamp(at), shown)


def time(at: datetime | None) -> SafeString | str:
    """Return a time to the second, readable for users and for programs; a dash if there is none."""
    return "–" if at is None else format_html('<time datetime="{}">{}</time>', at.isoformat(), format_timestamp(at))


def subject_of(request: HttpRequest) -> str:
    """Return the object that the list is filtered by, for its heading."""
    for name, model in _SUBJECTS.items():
        key = request.GET.get(f"{name}__exact")
        if key:
            try:
                row = model._default_manager.filter(pk=key).first()
            except ValidationError:  # not a valid key: the list itself reports it
                return ""
            return "" if row is None else str(row)
    return ""


def _url(name: str, *args: object) -> str:
    try:
        return reverse(name, args=args)
    except NoReverseMatch:
        return ""
