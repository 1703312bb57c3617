"""Base of all pages: access, security headers, and errors."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar

from django.contrib.auth.views import redirect_to_login
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from django.utils.cache import patch_cache_control
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from webhooks_app.conf import settings
from webhooks_app.dashboard.access import Visitor, visitor_of
from webhooks_app.dashboard.form_errors import error_message
from webhooks_app.dashboard.sections import SECTIONS
from webhooks_app.exceptions import NotAllowed, NotFound, WebhooksError
from webhooks_app.models.database import database_alias
from webhooks_app.models.ids import parse_public_id
from webhooks_app.tracebacks import hidden_locals

Row = TypeVar("Row", bound=Model)
Page = Callable[..., HttpResponseBase]

#: The reader's time zone, detected by `webhooks.js`.
_ZONE_COOKIE = "webhooks_timezone"


def dashboard_view(*methods: str, manages: bool = False) -> Callable[[Page], Page]:
    """Decorate a page: call `view(request, visitor, …)` for permitted visitors, and send others to the login.

    `methods`: the allowed methods, by default GET. Everything but GET needs a manager, and so do all methods if `manages` is
    true. A WebhooksError that the page does not catch becomes an error page.
    """

    def decorate(view: Page) -> Page:
        @protect
        @require_http_methods(list(methods) or ["GET"])
        @wraps(view)
        def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            with _readers_zone(request):
                return add_security_headers(_answer(request, view, manages, *args, **kwargs))

        return answer

    return decorate


def protect(view: Page) -> Page:
    """Decorate a view, whatever the host's settings.

    It refuses cross-site forms, keeps user input and values derived from it out of error reports, and opens no transaction
    for the request while a receiver responds.
    """

    @csrf_protect
    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        with hidden_locals():
            return view(request, *args, **kwargs)

    @transaction.non_atomic_requests(using=database_alias())
    @sensitive_post_parameters()
    @wraps(answer)
    def in_utf8(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        # A sender could name any codec of Python for its form, such as "punycode", which takes quadratic time. Nothing is set
        # where that is not needed: it would drop a form that a middleware has read.
        if (request.encoding or "utf-8").lower() != "utf-8":
            request.encoding = "utf-8"
        return answer(request, *args, **kwargs)

    # Django's middleware would read the form first. `csrf_protect` above makes the same check.
    in_utf8.csrf_exempt = True  # type: ignore[attr-defined]
    return in_utf8


def render_page(
    request: HttpRequest, visitor: Visitor | None, template: str, context: Mapping[str, Any], status: int = 200
) -> HttpResponse:
    """Render a page of this app: `webhooks_app/<template>.html`. `section` in the context selects the navigation entry."""
    frame = {"visitor": visitor, "sections": SECTIONS}
    return render(request, f"webhooks_app/{template}.html", {**frame, **context}, status=status)


def get_own_or_404(rows: QuerySet[Row], prefix: str, text: str, visitor: Visitor) -> Row:
    """Return the visitor's row with this public id. Raises NotFound, also for another tenant's row."""
    key = parse_public_id(text, prefix)
    row = rows.filter(pk=key, tenant_id=visitor.tenant.pk).first() if key else None
    if row is None:
        raise NotFound()
    return row


def add_security_headers(response: HttpResponseBase) -> HttpResponseBase:
    """Tell the browser to store nothing, to run only our own files, and not to send a referrer to other sites."""
    patch_cache_control(response, no_store=True, private=True)
    if settings().DASHBOARD.CSP:
        response.headers.setdefault("Content-Security-Policy", settings().DASHBOARD.CSP)
    # Not "no-referrer": browsers then send forms with an unknown origin, which Django's CSRF check refuses.
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    return response


def _answer(request: HttpRequest, view: Page, manages: bool, *args: Any, **kwargs: Any) -> HttpResponseBase:
    visitor = visitor_of(request)
    if visitor is None:
        if request.user.is_authenticated:
            return render_page(request, None, "nobody", {}, status=403)
        if request.headers.get("HX-Request"):  # a part of a page: let the whole page reload and go to the login
            return HttpResponse(status=401, headers={"HX-Refresh": "true"})
        return redirect_to_login(request.get_full_path())
    try:
        if not visitor.manages and (manages or request.method not in ("GET", "HEAD")):
            raise NotAllowed()
        return view(request, visitor, *args, **kwargs)
    except WebhooksError as error:
        status = {NotFound: 404, NotAllowed: 403}.get(type(error), 409)
        template = {404: "not_found", 403: "not_allowed"}.get(status, "refused")
        return render_page(request, visitor, template, {"error": error_message(error)}, status=status)


def _readers_zone(request: HttpRequest) -> timezone.override:
    """Return an override with the reader's time zone; if it is unknown, with the host's."""
    try:
        return timezone.override(zoneinfo.ZoneInfo(request.COOKIES[_ZONE_COOKIE]))
    except (KeyError, ValueError, OSError):  # missing or invalid (ZoneInfo looks for a file)
        return timezone.override(timezone.get_current_timezone())
