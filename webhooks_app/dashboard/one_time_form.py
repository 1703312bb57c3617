"""One-time forms. Submitting one again (reload, double click, back button) has no effect.

A secret that such a form shows once is in the response to the first submission and is stored nowhere: neither in the session
nor in the stored reply.
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

#: The name of the form's hidden field.
FIELD = "form_id"
_FORM_ID = re.compile(r"[0-9a-f]{32}")


def form_id() -> str:
    """Return a value for the hidden field of a new form."""
    return secrets.token_hex(16)


def submit_once(request: HttpRequest, visitor: Visitor, act: Callable[[], HttpResponse]) -> HttpResponse:
    """Return the response of `act`, unless this form was submitted before.

    If `act` raises or returns an error response, the form may be submitted again.
    """
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
    if response.status_code >= HTTPStatus.BAD_REQUEST:  # the form again, with its errors
        idempotency.discard(begun)
    else:
        idempotency.complete(begun, response.status_code, None)
    return response


def _used(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    return render_page(request, visitor, "used", {}, status=409)
