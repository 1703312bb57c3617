"""Forms that are good for one use: sent again (a reload, a second click, the back button), they do nothing again.

What such a form shows once, a secret, is in the answer to the first sending and is kept nowhere: neither in the session
nor in the reply that is remembered.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse

from webhooks_app import idempotency
from webhooks_app.dashboard.access import Visitor
from webhooks_app.dashboard.page_view import render_page

#: The form's hidden field.
FIELD = "form_id"
_FORM_ID = re.compile(r"[0-9a-f]{32}")


def form_id() -> str:
    """For the hidden field of a fresh form."""
    return secrets.token_hex(16)


def submit_once(request: HttpRequest, visitor: Visitor, act: Callable[[], HttpResponse]) -> HttpResponse:
    """The answer of `act`, unless this very form was sent before. Where `act` raises or answers with an error, it may be
    sent again."""
    number = request.POST.get(FIELD, "")
    if not _FORM_ID.fullmatch(number):
        return _used(request, visitor)
    begun = idempotency.start(visitor.tenant, f"form:{number}", fingerprint=number)
    if isinstance(begun, idempotency.Answered):
        return _used(request, visitor)
    try:
        response = act()
    except BaseException:
        idempotency.discard(begun)
        raise
    if response.status_code >= HTTPStatus.BAD_REQUEST:  # the form again, with what is wrong in it
        idempotency.discard(begun)
    else:
        idempotency.complete(begun, response.status_code, None)
    return response


def _used(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    return render_page(request, visitor, "used", {}, status=409)
