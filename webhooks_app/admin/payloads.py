"""Payloads: what events carry and what receivers answered. Only for those who may see them; for others a note says so."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from webhooks_app.deliveries.pretty_body import pretty_body

#: Characters that a page shows of one payload.
_MOST_SHOWN = 64 * 1024
PERMISSION = "webhooks_app.view_payload"


def may_see_payloads(request: HttpRequest) -> bool:
    user: Any = request.user
    return bool(user.has_perm(PERMISSION))


def hidden() -> SafeString:
    """What stands in a payload's place."""
    text = _("Not shown: your account lacks the permission to see payloads (%(name)s).") % {"name": PERMISSION}
    return format_html('<p class="webhooks-note">{}</p>', text)


def shown_json(text: str) -> SafeString:
    """JSON text, laid out for reading; as it is where it is large or none."""
    return _block(pretty_body(text).text.encode(errors="replace").decode())


def shown_bytes(body: bytes, *, truncated: bool) -> SafeString:
    """What came back, as text wherever it can be read as such."""
    if not body:
        return format_html('<p class="webhooks-note">{}</p>', _("Empty."))
    cut = format_html('<p class="webhooks-note">{}</p>', _("Cut off: the rest was not read.")) if truncated else ""
    return format_html("{}{}", _block(pretty_body(body).text), cut)


def shown_headers(text: str) -> SafeString:
    return _block(text) if text else format_html('<p class="webhooks-note">{}</p>', _("None."))


def _block(text: str) -> SafeString:
    note = _("… and %(count)s more characters.") % {"count": len(text) - _MOST_SHOWN} if len(text) > _MOST_SHOWN else ""
    return format_html('<pre class="webhooks-payload" tabindex="0">{}{}</pre>', text[:_MOST_SHOWN], note)
