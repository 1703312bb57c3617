"""What all pages share: who may come in, what the browser is told, and how trouble looks."""

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
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods

from webhooks_app.conf import settings
from webhooks_app.dashboard.access import Visitor, visitor_of
from webhooks_app.dashboard.form_errors import error_message
from webhooks_app.dashboard.sections import SECTIONS
from webhooks_app.exceptions import NotAllowed, NotFound, WebhooksError
from webhooks_app.models.database import database_alias
from webhooks_app.models.ids import parse_public_id

Row = TypeVar("Row", bound=Model)
Page = Callable[..., HttpResponseBase]

#: The reader's time zone, as `webhooks.js` has found it out.
_ZONE_COOKIE = "webhooks_timezone"


def dashboard_view(*methods: str, manages: bool = False) -> Callable[[Page], Page]:
    """Decorator: `dashboard_view(request, visitor, …)` for those who may see it, others are sent to log in.

    `methods`: GET unless told. Whatever is not a GET is for managers, and so is everything where `manages` is true. What
    an act refuses (a WebhooksError that the page does not catch) becomes a page that says so.
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
    """Decorator of every view, whatever the host has set: a form of another site is refused, what people type, and what is
    made of it, is in no report of an error, and no transaction of the request's is open while a receiver answers."""
    unreported = sensitive_variables()(view)

    @transaction.non_atomic_requests(using=database_alias())
    @sensitive_post_parameters()
    @csrf_protect
    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return (unreported if request.method == "POST" else view)(request, *args, **kwargs)

    return answer


def render_page(
    request: HttpRequest, visitor: Visitor | None, template: str, context: Mapping[str, Any], status: int = 200
) -> HttpResponse:
    """A page of this app: `webhooks_app/<template>.html`. `section` in the context says where in the navigation it is."""
    frame = {"visitor": visitor, "sections": SECTIONS}
    return render(request, f"webhooks_app/{template}.html", {**frame, **context}, status=status)


def get_own_or_404(rows: QuerySet[Row], prefix: str, text: str, visitor: Visitor) -> Row:
    """The visitor's row with this public id. Raises NotFound: another tenant's is not there, for all that anybody can tell."""
    key = parse_public_id(text, prefix)
    row = rows.filter(pk=key, tenant_id=visitor.tenant.pk).first() if key else None
    if row is None:
        raise NotFound()
    return row


def add_security_headers(response: HttpResponseBase) -> HttpResponseBase:
    """Tell the browser to keep nothing, run nothing but our own files, and say nowhere where somebody came from."""
    patch_cache_control(response, no_store=True, private=True)
    if settings().DASHBOARD_CSP:
        response.headers.setdefault("Content-Security-Policy", settings().DASHBOARD_CSP)
    # Not "no-referrer": browsers then send forms with an unknown origin, which Django's CSRF check refuses.
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    return response


def _answer(request: HttpRequest, view: Page, manages: bool, *args: Any, **kwargs: Any) -> HttpResponseBase:
    visitor = visitor_of(request)
    if visitor is None:
        if request.user.is_authenticated:
            return render_page(request, None, "nobody", {}, status=403)
        if request.headers.get("HX-Request"):  # a part of a page: the page itself is to go and log in
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
    """Times as the reader's clock shows them; where that is not known, as the host has set it."""
    try:
        return timezone.override(zoneinfo.ZoneInfo(request.COOKIES[_ZONE_COOKIE]))
    except (KeyError, ValueError, OSError):  # none, or no zone's name (ZoneInfo looks for a file)
        return timezone.override(timezone.get_current_timezone())
