"""The search box at the top of every page."""

from __future__ import annotations

from urllib.parse import urlencode

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse

from webhooks_app.dashboard.access import Visitor
from webhooks_app.dashboard.page_view import dashboard_view, render_page
from webhooks_app.dashboard.search import Hits, search

MOST_CHARACTERS = 255


class SearchForm(forms.Form):
    q = forms.CharField(required=False, max_length=MOST_CHARACTERS)


@dashboard_view()
def search_page(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    form = SearchForm(request.GET)
    text = form.cleaned_data["q"] if form.is_valid() else ""
    hits = search(visitor.tenant.pk, text) if text else Hits()
    if hits.count == 1:
        return redirect(_only(hits))
    shown = request.GET.get("q", "")[:MOST_CHARACTERS]
    return render_page(request, visitor, "search", {"q": shown, "hits": hits})


def _only(hits: Hits) -> str:
    """Return the URL of the only hit."""
    if hits.channel:
        return f"{reverse('webhooks_app:deliveries')}?{urlencode({'channel': hits.channel})}"
    if hits.delivery:
        return reverse("webhooks_app:delivery", args=[hits.delivery.public_id])
    if endpoint := hits.endpoint or next(iter(hits.endpoints_like), None):
        return reverse("webhooks_app:endpoint", args=[endpoint.public_id])
    event = hits.event or hits.by_key or hits.by_subject[0]
    return reverse("webhooks_app:event", args=[event.public_id])


paths = [
    path("search", search_page, name="search"),
]
