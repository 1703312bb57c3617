"""States as coloured words, named as on the customers' pages; stored values remain in classes and URLs."""

from __future__ import annotations

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from webhooks_app.models import Endpoint, EndpointQueue, EndpointStatus
from webhooks_app.templatetags.webhooks import state_name


def state(value: str, words: object = "", *, is_test: bool = False) -> SafeString:
    """Format a stored state in its colour, with a mark if it belongs to a test event; `words` replace its own name."""
    badge = format_html('<span class="webhooks-state webhooks-{}">{}</span>', value, words or state_name(value))
    return format_html('{} <span class="webhooks-state">{}</span>', badge, _("test")) if is_test else badge


def endpoint_state(row: Endpoint, queue: EndpointQueue | None = None) -> SafeString:
    """Format the endpoint's state: failing if it is active and its last request failed. Reads its queue unless given."""
    if row.status == EndpointStatus.ACTIVE:
        queue = queue or getattr(row, "queue", None)
        if queue is not None and queue.failing_since is not None:
            return state("failing", _("failing"))
    return state(row.status)
