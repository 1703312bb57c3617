"""Links from page to page of the admin: to a row, to the list of what belongs to a row."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import ValidationError
from django.db.models import Model
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from webhooks_app.models import Delivery, Endpoint, Event, Tenant
from webhooks_app.pipeline.transactions import pipeline_alias
from webhooks_app.reports.explanations import moment

#: What lists are narrowed to, by the name of the parameter.
_SUBJECTS: dict[str, type[Model]] = {"tenant": Tenant, "endpoint": Endpoint, "event": Event, "delivery": Delivery}


def page_of(row: Model) -> str:
    """The URL of the row's page; empty where the host has no such page."""
    return _url(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", row.pk)


def list_of(model: type[Model], **narrowed: Any) -> str:
    """The URL of a list, narrowed by the fields that are named; empty where the host has no such list."""
    url = _url(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    wanted = {
        name if name in ("made", "status", "state") else f"{name}__exact": value for name, value in narrowed.items()
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


def time(at: datetime | None) -> SafeString | str:
    """A time to the second, for people and for programs; a dash where there is none."""
    return "–" if at is None else format_html('<time datetime="{}">{}</time>', at.isoformat(), moment(at))


def state_badge(state: str, words: object, *, is_test: bool) -> SafeString:
    """A state as a coloured word, and beside it whether that is of a test event."""
    badge = format_html('<span class="webhooks-state webhooks-{}">{}</span>', state, words)
    return format_html('{} <span class="webhooks-state">{}</span>', badge, _("test")) if is_test else badge


def subject_of(request: HttpRequest) -> str:
    """What the list is narrowed to, for its heading."""
    for name, model in _SUBJECTS.items():
        key = request.GET.get(f"{name}__exact")
        if key:
            try:
                row = model._default_manager.using(pipeline_alias()).filter(pk=key).first()
            except ValidationError:  # no key at all: the list itself says so
                return ""
            return "" if row is None else str(row)
    return ""


def _url(name: str, *args: object) -> str:
    try:
        return reverse(name, args=args)
    except NoReverseMatch:
        return ""
