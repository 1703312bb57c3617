"""The playground: an endpoint without a server, and the requests that it received."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _

from webhooks_app.core.playground import response_of
from webhooks_app.dashboard.access import Visitor
from webhooks_app.dashboard.form_errors import run_action
from webhooks_app.dashboard.forms.playground import EventsForm, ResponseForm, SendForm, response_texts
from webhooks_app.dashboard.one_time_form import form_id, submit_once
from webhooks_app.dashboard.page_view import dashboard_view, render_page
from webhooks_app.dashboard.sections import PLAYGROUND
from webhooks_app.deliveries.explain import disabled_in_words
from webhooks_app.deliveries.outlook import outlook_of
from webhooks_app.deliveries.pretty_body import pretty_body
from webhooks_app.endpoints.health import MOST_COUNTED, waiting
from webhooks_app.endpoints.service import change_endpoint
from webhooks_app.events.types import event_types
from webhooks_app.exceptions import NotFound
from webhooks_app.models import Delivery, Endpoint, EndpointStatus
from webhooks_app.models.ids import parse_public_id, public_id
from webhooks_app.playground.requests import LAST, Arrival, arrivals
from webhooks_app.playground.service import (
    answer_with,
    close_playground,
    open_playground,
    playground_of,
    send_to_playground,
)

#: The most characters of a body shown here; the delivery's page has the rest.
MOST_SHOWN = 32 * 1024

_DONE = {
    "sent": _("The test event is on its way. It arrives below in a moment."),
    "answers": _("From now on the receiver answers so. What was waiting is sent now."),
    "events": _("Saved. It counts for events from now on."),
    "closed": _("The playground is closed. What arrived stays in the log of deliveries for a while."),
}
#: Why it is disabled, for reasons that the playground explains in more detail than other endpoints.
_OFF = {"gone": _("It answered 410 Gone, which asks us to stop; so would your own endpoint be.")}


@dashboard_view("GET", "POST")
def playground(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """Render the page; a POST opens the playground and shows its secret."""

    def open_it() -> HttpResponse:
        endpoint, secret = open_playground(visitor.tenant, actor=visitor.actor)
        if secret is None:
            return redirect("webhooks_app:playground")
        return render_page(
            request, visitor, "playground_secret", {"section": PLAYGROUND, "endpoint": endpoint, "secret": secret}
        )

    if request.method == "POST":
        return submit_once(request, visitor, open_it)
    return _playground_page(request, visitor)


@dashboard_view()
def playground_arrivals(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """Return new requests and the current state for htmx; 204 if nothing is new."""
    endpoint = _open_one(visitor)
    context = _live(endpoint, parse_public_id(request.GET.get("after", ""), "att"))
    if not context["arrivals"] and context["mark"] == request.GET.get("mark"):
        return HttpResponse(status=204)
    return render_page(request, visitor, "playground_arrivals", context)


@dashboard_view("POST")
def playground_answer(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    form = ResponseForm(request.POST, endpoint=_open_one(visitor))

    def act() -> object:
        return answer_with(visitor.tenant, form.cleaned_data["answer"], actor=visitor.actor)

    return _done(request, visitor, form, act, "answers") or _playground_page(request, visitor, response_form=form)


@dashboard_view("POST")
def playground_events(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    endpoint = _open_one(visitor)
    form = EventsForm(request.POST, types=event_types(), chosen=endpoint.patterns)

    def act() -> object:
        return change_endpoint(endpoint, events=form.values(), actor=visitor.actor)

    return _done(request, visitor, form, act, "events") or _playground_page(request, visitor, events_form=form)


@dashboard_view("POST")
def playground_send(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    types = _offered()

    def send() -> HttpResponse:
        form = SendForm(request.POST, types=types, chosen=request.POST.get("type", ""))

        def act() -> object:
            given = form.cleaned_data
            return send_to_playground(visitor.tenant, type=given["type"], data=given["data"], actor=visitor.actor)

        return _done(request, visitor, form, act, "sent", type=form.chosen) or _playground_page(
            request, visitor, send_form=form
        )

    return submit_once(request, visitor, send)


@dashboard_view("POST")
def playground_close(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    close_playground(visitor.tenant, actor=visitor.actor)
    return _back("closed")


def _done(
    request: HttpRequest, visitor: Visitor, form: forms.Form, act: Callable[[], object], word: str, **more: str
) -> HttpResponse | None:
    """Run the action if the form is valid, and redirect to the page.

    Returns None if the form is invalid or the action fails: the form then has the error.
    """
    return None if run_action(form, act) is None else _back(word, **more)


def _back(word: str, **more: str) -> HttpResponse:
    return redirect(f"{reverse('webhooks_app:playground')}?{urlencode({'done': word, **more})}")


def _open_one(visitor: Visitor) -> Endpoint:
    endpoint = playground_of(visitor.tenant)
    if endpoint is None:
        raise NotFound()
    return endpoint


def _offered() -> list[Any]:
    return [type_ for type_ in event_types() if not type_.retired]


def _playground_page(request: HttpRequest, visitor: Visitor, **bound: forms.Form) -> HttpResponse:
    """Render the current page. `bound`: a form with errors, in place of a new one."""
    context: dict[str, Any] = {"section": PLAYGROUND, "done": _DONE.get(request.GET.get("done", ""), "")}
    context["form_id"] = form_id()
    endpoint = playground_of(visitor.tenant)
    if endpoint is None:
        return render_page(request, visitor, "playground_closed", context)
    types = event_types()
    offered = [type_ for type_ in types if not type_.retired]
    chosen = request.GET.get("type", "")
    after = parse_public_id(request.GET.get("after", ""), "att")
    context |= _live(endpoint, after) | {
        "after": after,
        "last": LAST,
        "off_because": _OFF.get(endpoint.status_reason) or disabled_in_words(endpoint.status_reason),
        "patterns": endpoint.patterns,
        "types": offered,
        "response_form": ResponseForm(endpoint=endpoint),
        "events_form": EventsForm(types=types, chosen=endpoint.patterns),
        "send_form": SendForm(types=offered, chosen=chosen),
        **bound,
    }
    return render_page(request, visitor, "playground", context, status=422 if bound else 200)


def _live(endpoint: Endpoint, after: uuid.UUID | None) -> dict[str, Any]:
    """Return what changes while the page is open. `mark` changes if anything but the requests has changed."""
    found = arrivals(endpoint, after=after)
    count = waiting(endpoint)
    pending = Delivery.objects.pending().filter(endpoint_id=endpoint.pk)
    first = pending.order_by("next_attempt_at", "id").first()
    outlook = outlook_of(first, endpoint, getattr(endpoint, "queue", None), timezone.now()) if first else None
    next_at = outlook.at if outlook else None
    response = response_of(endpoint.url)
    newest = found[0].attempt.pk if found else after
    return {
        "endpoint": endpoint,
        "is_off": endpoint.status == EndpointStatus.DISABLED,
        "is_paused": endpoint.status == EndpointStatus.PAUSED,
        "answers": response_texts(endpoint).get(response.name if response else "", ""),
        "arrivals": [_shown(arrival) for arrival in found],
        "newest": newest.hex if newest else "",
        "waiting": min(count, MOST_COUNTED),
        "waiting_more": count > MOST_COUNTED,
        "next_at": next_at,
        "mark": f"{endpoint.url}-{endpoint.status}-{count}-{next_at.timestamp() if next_at else 0:.0f}",
    }


def _shown(arrival: Arrival) -> dict[str, Any]:
    """Return the context of one request: its body as text, with JSON indented."""
    raw = arrival.request.body.decode("utf-8", "replace")
    shown = pretty_body(arrival.request.body)
    pretty = shown.text if shown.is_indented else ""
    return {
        "arrival": arrival,
        "attempt": arrival.attempt,
        "delivery_id": public_id("dlv", arrival.attempt.delivery_id),
        "event": arrival.attempt.delivery.event,
        "pretty": pretty[:MOST_SHOWN],
        "raw": raw[:MOST_SHOWN],
        "cut": len(raw) > MOST_SHOWN or len(pretty) > MOST_SHOWN,
        "bytes": len(arrival.request.body),
    }


paths = [
    path("playground", playground, name="playground"),
    path("playground/arrivals", playground_arrivals, name="playground_arrivals"),
    path("playground/answer", playground_answer, name="playground_answer"),
    path("playground/events", playground_events, name="playground_events"),
    path("playground/send", playground_send, name="playground_send"),
    path("playground/close", playground_close, name="playground_close"),
]
