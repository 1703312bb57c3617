"""Start and end a portal session."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.urls import path
from django.views.decorators.http import require_http_methods, require_POST

from webhooks_app.dashboard.access import sign_in, sign_out
from webhooks_app.dashboard.page_view import add_security_headers, protect, render_page
from webhooks_app.exceptions import InvalidPortalLink
from webhooks_app.tenants.portal import use_portal_link
from webhooks_app.tenants.refusals import PERIOD, must_wait, refuse_portal_link, sender_of


@protect
@require_http_methods(["GET", "POST"])
def portal(request: HttpRequest, token: str) -> HttpResponseBase:
    """Ask for a click before using the link: a chat program that loads it for a preview must not use it up."""
    if request.method == "GET":
        return add_security_headers(render_page(request, None, "portal", {"stale": False}))
    sender = sender_of(request)
    if must_wait(token, sender):
        response = render_page(request, None, "portal", {"stale": True}, status=429)
        response.headers["Retry-After"] = str(PERIOD)
        return add_security_headers(response)
    try:
        link = use_portal_link(token)
    except InvalidPortalLink:
        refuse_portal_link(token, sender)
        return add_security_headers(render_page(request, None, "portal", {"stale": True}, status=410))
    sign_in(request, link)
    return add_security_headers(redirect("webhooks_app:home"))


@protect
@require_POST
def leave(request: HttpRequest) -> HttpResponseBase:
    """End the portal session."""
    sign_out(request)
    return add_security_headers(render_page(request, None, "left", {}))


paths = [
    path("portal/<str:token>", portal, name="portal"),
    path("leave", leave, name="leave"),
]
