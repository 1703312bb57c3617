"""The first pages: in through a portal link, and the list of webhooks."""

from __future__ import annotations

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from webhooks_app.actions.portal import use_portal_link
from webhooks_app.dashboard.visitors import let_in, visitor_of
from webhooks_app.exceptions import InvalidPortalLink
from webhooks_app.models import Endpoint
from webhooks_app.pipeline.transactions import pipeline_alias

#: A page shows so many webhooks.
_MOST_SHOWN = 200


@never_cache
@require_http_methods(["GET", "POST"])
def portal(request: HttpRequest, token: str) -> HttpResponse:
    """The link asks for a click first: a chat program that looks at it for a preview must not use it up."""
    if request.method == "GET":
        return render(request, "webhooks_app/portal.html", {"stale": False})
    try:
        link = use_portal_link(token)
    except InvalidPortalLink:
        return render(request, "webhooks_app/portal.html", {"stale": True}, status=410)
    let_in(request, link)
    return redirect("webhooks_app:home")


@never_cache
@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """The tenant's webhooks."""
    visitor = visitor_of(request)
    if visitor is None:
        if request.user.is_authenticated:
            return render(request, "webhooks_app/nobody.html", status=403)
        return redirect_to_login(request.get_full_path())
    rows = Endpoint.objects.using(pipeline_alias()).visible().filter(tenant=visitor.tenant)
    shown = rows.select_related("queue").prefetch_related("subscriptions").order_by("-id")[:_MOST_SHOWN]
    return render(request, "webhooks_app/home.html", {"visitor": visitor, "endpoints": shown})
