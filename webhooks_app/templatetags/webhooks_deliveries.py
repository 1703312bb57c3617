"""Template tags that format outcomes on the delivery pages: `{% load webhooks_deliveries %}`."""

from __future__ import annotations

from django import template
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from webhooks_app.core.retry import OutcomeKind
from webhooks_app.deliveries.outcomes import outcome_name
from webhooks_app.deliveries.outlook import outlook_of, short_label
from webhooks_app.models import Attempt, Delivery, Endpoint

register = template.Library()


@register.simple_tag
def outcome(row: Delivery) -> SafeString | str:
    """Return the outcome of the last attempt with its HTTP status; "–" before the first attempt."""
    return _written(row.last_outcome, row.last_status) if row.last_outcome else "–"


@register.simple_tag
def outcome_badge(attempt: Attempt) -> SafeString:
    """Return the outcome of one attempt as a coloured badge; the colour is never the only sign."""
    kind = "good" if attempt.outcome == OutcomeKind.SUCCEEDED else "bad"
    return format_html('<span class="badge {}">{}</span>', kind, _written(attempt.outcome, attempt.status))


@register.simple_tag
def waits(row: Delivery, endpoint: Endpoint) -> str:
    """Return in a few words why a pending delivery waits; empty if only for its own time. The endpoint's queue must be loaded."""
    return short_label(outlook_of(row, endpoint, getattr(endpoint, "queue", None), timezone.now()))


@register.simple_tag
def test_badge() -> SafeString:
    """Return the badge of test events."""
    return format_html('<span class="badge">{}</span>', _("test"))


@register.filter
def seconds(milliseconds: float) -> str:
    """Return a duration for reading: 12 ms, 1.4 s."""
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    return f"{number_format(milliseconds / 1000, 1)} s"


def _written(kind: str, status: int | None) -> str:
    name = str(outcome_name(kind))
    return name if status is None else format_html("{} {}", status, name)
