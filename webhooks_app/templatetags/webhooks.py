"""How the customers' pages write times, states, URLs and JSON: `{% load webhooks %}`."""

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

#: State → class of its badge.
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

#: Of times to come: the unit, its seconds, and how many of them are told in the next one.
_UNITS = (
    ("minute", 60, 120),
    ("hour", 3600, 48),
    ("day", 86_400, 60),
    ("month", 2_629_746, 24),
    ("year", 31_556_952, math.inf),
)
#: Where a long text without spaces may go on in a new line: after what separates its parts, not amid several of these ("//"),
#: and before an escaped character.
_BREAKS = re.compile(r"(?<=[/?&=.,:;_~+@#-])(?![/?&=.,:;_~+@#-])|(?=%)")


@register.simple_tag
def moment(at: datetime | None) -> SafeString | str:
    """`<time>`: how long ago (or until when), and the exact time in the reader's zone beside it, for all to read."""
    return "–" if at is None else _time(at, _ago(at))


@register.simple_tag
def due(at: datetime | None) -> SafeString | str:
    """As `moment`, for what is planned then: once that is past, nothing has happened yet."""
    return "–" if at is None else _time(at, _ahead(at) if at > timezone.now() else _("due now"))


@register.simple_tag
def badge(state: str) -> SafeString:
    """A state as a coloured word; the colour is never the only sign."""
    return format_html('<span class="badge {}">{}</span>', _KINDS.get(state, "quiet"), state_name(state))


@register.filter
def state_name(state: str) -> str:
    return str(_NAMES.get(state, state))


@register.filter
def breakable(text: object) -> SafeString:
    """A URL, or what is like one, with a `<wbr>` wherever a line may end. Copied, it is what it was."""
    pieces = (piece for piece in _BREAKS.split(str(text)) if piece)
    return format_html_join(mark_safe("<wbr>"), "{}", ((piece,) for piece in pieces))


@register.filter
def endpoint_name(endpoint: Endpoint) -> str:
    """As `destination`, where there is no room for markup."""
    return name_of(endpoint)


@register.simple_tag
def destination(endpoint: Endpoint, most: int | None = None) -> SafeString | str:
    """Where something goes, as customers know it: the endpoint's URL in `<code>`, or the playground. `most`: characters of it."""
    name = name_of(endpoint)
    if endpoint.is_playground:
        return name
    return format_html("<code>{}</code>", breakable(Truncator(name).chars(most) if most else name))


@register.filter
def as_json(value: Any) -> str:
    """JSON as people read it."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def _time(at: datetime, words: str) -> SafeString:
    local = timezone.localtime(at)
    # To the second, which no language's DATETIME_FORMAT is: people compare it with their own logs.
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
    """To the nearest unit: what was chosen to be in 24 hours is so a moment later, too."""
    seconds = (at - timezone.now()).total_seconds()
    if seconds < 59.5:
        return _("in a moment")
    count, unit = next((round(seconds / size), name) for name, size, most in _UNITS if round(seconds / size) < most)
    return _("in %(time)s") % {"time": TIME_STRINGS[unit] % {"num": count}}
