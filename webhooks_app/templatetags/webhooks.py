"""Template tags that format times, states, URLs and JSON on the customers' pages: `{% load webhooks %}`."""

from __future__ import annotations

import json
import math
import re
from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import Truncator
from django.utils.timesince import TIME_STRINGS, timesince
from django.utils.translation import gettext as _
from django.utils.translation import pgettext_lazy

from webhooks_app.endpoints.queries import name_of
from webhooks_app.models import Endpoint

register = template.Library()
#: The same as `destination`, as plain text.
register.filter("endpoint_name", name_of)

#: State → CSS class of its badge.
_KINDS = {
    "active": "good",
    "succeeded": "good",
    "paused": "wait",
    "pending": "wait",
    "cancelled": "quiet",
    "disabled": "bad",
    "exhausted": "bad",
    "deleted": "quiet",
    "revoked": "quiet",
    "expired": "quiet",
}

_NAMES = {
    "active": pgettext_lazy("state", "active"),
    "paused": pgettext_lazy("state", "paused"),
    "disabled": pgettext_lazy("state", "disabled"),
    "deleted": pgettext_lazy("state", "deleted"),
    "pending": pgettext_lazy("state", "pending"),
    "succeeded": pgettext_lazy("state", "succeeded"),
    "exhausted": pgettext_lazy("state", "failed"),
    "cancelled": pgettext_lazy("state", "cancelled"),
    "revoked": pgettext_lazy("state", "revoked"),
    "expired": pgettext_lazy("state", "expired"),
}

#: For times in the future: the unit, its seconds, and from how many of them on the next larger unit is used.
_UNITS = (
    ("minute", 60, 120),
    ("hour", 3600, 48),
    ("day", 86_400, 60),
    ("month", 2_629_746, 24),
    ("year", 31_556_952, math.inf),
)
#: Where a long text without spaces may wrap: after a separator, not between several of them ("//"), and before an escaped
#: character.
_BREAKS = re.compile(r"(?<=[/?&=.,:;_~+@#-])(?![/?&=.,:;_~+@#-])|(?=%)")


@register.simple_tag
def moment(at: datetime | None) -> SafeString | str:
    """Format a time as `<time>`: how long ago (or until when), with the exact time in the reader's zone as visible text."""
    return "–" if at is None else _time(at, _ago(at))


@register.simple_tag
def due(at: datetime | None) -> SafeString | str:
    """Format a planned time like `moment`; once it is in the past, the action is still to come."""
    return "–" if at is None else _time(at, _ahead(at) if at > timezone.now() else _("due now"))


@register.simple_tag
def badge(state: str) -> SafeString:
    """Format a state as a coloured word; the colour is never the only sign."""
    return format_html('<span class="badge {}">{}</span>', _KINDS.get(state, "quiet"), state_name(state))


@register.filter
def state_name(state: str) -> str:
    return str(_NAMES.get(state, state))


@register.filter
def breakable(text: object) -> SafeString:
    """Format a URL or similar text with a `<wbr>` wherever a line may break. Copied text is unchanged."""
    pieces = (piece for piece in _BREAKS.split(str(text)) if piece)
    return format_html_join(mark_safe("<wbr>"), "{}", ((piece,) for piece in pieces))


@register.simple_tag
def destination(endpoint: Endpoint, most: int | None = None) -> SafeString | str:
    """Format an endpoint as customers know it: its URL in `<code>`, or the playground. `most`: the most characters shown."""
    name = name_of(endpoint)
    if endpoint.is_playground:
        return name
    return format_html("<code>{}</code>", breakable(Truncator(name).chars(most) if most else name))


@register.filter
def as_json(value: Any) -> str:
    """Format JSON for reading."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def _time(at: datetime, words: str) -> SafeString:
    try:
        local = timezone.localtime(at)
    except OverflowError:  # in the first or the last year that Python knows
        local = at
    # To the second, which no language's DATETIME_FORMAT includes: users compare it with their own logs.
    exact = f"{date_format(local, 'DATE_FORMAT')}, {local:%H:%M:%S %Z}"
    return format_html(
        '<time datetime="{}" title="{}"><span class="ago">{}</span> <span class="exact">{}</span></time>',
        at.isoformat(timespec="milliseconds"),
        exact,
        words,
        exact,
    )


def _ago(at: datetime) -> str:
    seconds = (timezone.now() - at).total_seconds()
    if seconds < 0:
        return _ahead(at)
    return _("just now") if seconds < 60 else _("%(time)s ago") % {"time": timesince(at, depth=1)}


def _ahead(at: datetime) -> str:
    """Format the time until then, rounded to the nearest unit: a time 24 hours ahead still reads so a moment later."""
    seconds = (at - timezone.now()).total_seconds()
    if seconds < 59.5:
        return _("in a moment")
    count, unit = next((round(seconds / size), name) for name, size, most in _UNITS if round(seconds / size) < most)
    return _("in %(time)s") % {"time": TIME_STRINGS[unit] % {"num": count}}
