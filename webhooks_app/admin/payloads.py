"""Payloads: event data and response bodies. Shown only with the permission; others see a note instead."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from webhooks_app.deliveries.explain import format_timestamp
from webhooks_app.deliveries.pretty_body import pretty_body
from webhooks_app.models import Attempt, Event
from webhooks_app.models.ids import public_id
from webhooks_app.tenants.access import staff_actor_of
from webhooks_app.tenants.audit import record_audit_entries

#: The most characters of one payload on a page.
_MOST_SHOWN = 64 * 1024
PERMISSION = "webhooks_app.view_payload"


def may_see_payloads(request: HttpRequest) -> bool:
    user: Any = request.user
    return bool(user.has_perm(PERMISSION))


def record_payload_views(request: HttpRequest, rows: Iterable[Any]) -> None:
    """Record in the audit log that this user looks at the payloads of these rows."""
    targets: dict[uuid.UUID, list[str]] = {}
    for row in rows:
        # An attempt has no public id of its own.
        target = (
            public_id("dlv", row.delivery_id) if isinstance(row, Attempt) else getattr(row, "public_id", row.pk.hex)
        )
        targets.setdefault(row.tenant_id, []).append(target)
    for tenant_id, seen in targets.items():
        record_audit_entries(tenant_id, staff_actor_of(request.user), "payload.viewed", seen)


def hidden() -> SafeString:
    """Return the text that replaces a payload."""
    text = _("Not shown: your account lacks the permission to see payloads (%(name)s).") % {"name": PERMISSION}
    return format_html('<p class="webhooks-note">{}</p>', text)


def shown_erased(event: Event) -> SafeString:
    """Return the text that stands in place of what was erased."""
    assert event.erased_at is not None
    text = _("Erased on %(at)s.") % {"at": format_timestamp(event.erased_at)}
    return format_html('<p class="webhooks-note">{}</p>', text)


def shown_json(text: str) -> SafeString:
    """Return JSON text, indented for reading; unchanged if it is large or invalid."""
    return _block(pretty_body(text).text.encode(errors="replace").decode())


def shown_bytes(body: bytes, *, truncated: bool) -> SafeString:
    """Return a response body, as text if it can be decoded."""
    if not body:
        return format_html('<p class="webhooks-note">{}</p>', _("Empty."))
    cut = format_html('<p class="webhooks-note">{}</p>', _("Cut off: the rest was not read.")) if truncated else ""
    return format_html("{}{}", _block(pretty_body(body).text), cut)


def shown_headers(text: str) -> SafeString:
    return _block(text) if text else format_html('<p class="webhooks-note">{}</p>', _("None."))


def _block(text: str) -> SafeString:
    note = _("… and %(count)s more characters.") % {"count": len(text) - _MOST_SHOWN} if len(text) > _MOST_SHOWN else ""
    return format_html('<pre class="webhooks-payload" tabindex="0">{}{}</pre>', text[:_MOST_SHOWN], note)
