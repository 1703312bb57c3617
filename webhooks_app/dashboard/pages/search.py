"""The search box at the top of every page: by an id of the app, a subject or idempotency key of the host, a channel, or a
part of an endpoint's URL or description."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from urllib.parse import urlencode

from django import forms
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse

from webhooks_app.dashboard.access import Visitor
from webhooks_app.dashboard.page_view import dashboard_view, render_page
from webhooks_app.models import Delivery, Endpoint, Event, EventChannel
from webhooks_app.models.ids import parse_public_id

MOST_CHARACTERS = 255
#: The most events shown for one subject.
MOST_SHOWN = 20
#: A shorter text occurs in nearly every URL.
_LEAST_PART = 3
#: The number of events examined, if very many have the same subject.
_LOOKED_AT = 500


@dataclass(frozen=True, slots=True)
class Hits:
    """The results for a text. Each kind uses its own index; endpoints, of which a tenant has few, are scanned."""

    event: Event | None = None
    delivery: Delivery | None = None
    endpoint: Endpoint | None = None
    #: The event with this idempotency key.
    by_key: Event | None = None
    #: Events with this subject, newest first.
    by_subject: list[Event] = field(default_factory=list)
    more_by_subject: bool = False
    channel: str = ""
    #: Endpoints with the text in their URL or description, newest first.
    endpoints_like: list[Endpoint] = field(default_factory=list)
    more_endpoints: bool = False

    @property
    def count(self) -> int:
        single = (self.event, self.delivery, self.endpoint, self.by_key, self.channel)
        return sum(bool(one) for one in single) + len(self.by_subject) + len(self.endpoints_like)


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


def search(tenant_id: uuid.UUID, text: str) -> Hits:
    """Return everything of this tenant that matches `text`.

    Matches are exact, except for the prefix of ids, and for endpoints: their URL or description may contain the text.
    """
    events = Event.objects.filter(tenant_id=tenant_id, quarantine_reason="").defer("data")
    deliveries = Delivery.objects.filter(tenant_id=tenant_id)
    endpoints = Endpoint.objects.without_callbacks().filter(tenant_id=tenant_id)  # those with a page
    channels = EventChannel.objects.filter(tenant_id=tenant_id, channel=text)
    keys = {prefix: parse_public_id(text, prefix) for prefix in ("evt", "dlv", "wh")}
    by_subject = sorted(events.filter(subject=text)[:_LOOKED_AT], key=lambda event: event.pk, reverse=True)
    alike = _endpoints_like(text, tenant_id)
    return Hits(
        event=events.filter(pk=keys["evt"]).first() if keys["evt"] else None,
        delivery=deliveries.filter(pk=keys["dlv"]).select_related("event").first() if keys["dlv"] else None,
        endpoint=endpoints.filter(pk=keys["wh"]).first() if keys["wh"] else None,
        by_key=events.filter(idempotency_key=text).first(),
        by_subject=by_subject[:MOST_SHOWN],
        more_by_subject=len(by_subject) > MOST_SHOWN,
        channel=text if channels.exists() else "",
        endpoints_like=alike[:MOST_SHOWN],
        more_endpoints=len(alike) > MOST_SHOWN,
    )


def _endpoints_like(text: str, tenant_id: uuid.UUID) -> list[Endpoint]:
    """Return one more than are shown, at most. The playground is left out: users do not know its URL."""
    if len(text) < _LEAST_PART:
        return []
    rows = Endpoint.objects.counted().filter(tenant_id=tenant_id)
    part = Q(url__icontains=text) | Q(description__icontains=text)
    return list(rows.filter(part).order_by("-pk")[: MOST_SHOWN + 1])


paths = [
    path("search", search_page, name="search"),
]
