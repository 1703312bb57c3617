"""In through a portal link, and out again."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.urls import path
from django.views.decorators.http import require_http_methods, require_POST

from webhooks_app.actions.portal import use_portal_link
from webhooks_app.dashboard.page import guarded, sheltered, show
from webhooks_app.dashboard.visitors import let_in, let_out
from webhooks_app.exceptions import InvalidPortalLink


@sheltered
@require_http_methods(["GET", "POST"])
def portal(request: HttpRequest, token: str) -> HttpResponseBase:
    """The link asks for a click first: a chat program that looks at it for a preview must not use it up."""
    if request.method == "GET":
        return guarded(show(request, None, "portal", {"stale": False}))
    try:
        link = use_portal_link(token)
    except InvalidPortalLink:
        return guarded(show(request, None, "portal", {"stale": True}, status=410))
    let_in(request, link)
    return guarded(redirect("webhooks_app:home"))


@sheltered
@require_POST
def leave(request: HttpRequest) -> HttpResponseBase:
    """End the stay that a portal link began."""
    let_out(request)
    return guarded(show(request, None, "left", {}))


paths = [
    path("portal/<str:token>", portal, name="portal"),
    path("leave", leave, name="leave"),
]
