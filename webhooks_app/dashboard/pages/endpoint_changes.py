"""Create and change an endpoint. A new secret is in the response, and nowhere else."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import path

from webhooks_app.conf import settings
from webhooks_app.dashboard.access import Visitor
from webhooks_app.dashboard.form_errors import run_action
from webhooks_app.dashboard.forms.endpoint import ChangeEndpointForm, EndpointForm, NewEndpointForm, header_names
from webhooks_app.dashboard.one_time_form import form_id, submit_once
from webhooks_app.dashboard.page_view import dashboard_view, get_own_or_404, render_page
from webhooks_app.dashboard.pages.endpoint_secrets import secret_shown
from webhooks_app.dashboard.pages.endpoints import to_endpoint
from webhooks_app.dashboard.sections import ENDPOINTS
from webhooks_app.endpoints.authentication import shown_authentication
from webhooks_app.endpoints.queries import duplicate_of
from webhooks_app.endpoints.service import change_endpoint, create_endpoint
from webhooks_app.endpoints.validation import checked_wire_format
from webhooks_app.events.types import offered_types
from webhooks_app.models import Endpoint
from webhooks_app.tenants.plan import plan_of
from webhooks_app.wire_formats import get_wire_format


@dashboard_view("GET", "POST", manages=True)
def endpoint_new(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    offered = [get_wire_format(name) for name in settings().DASHBOARD.WIRE_FORMATS]
    wire_formats = offered or [checked_wire_format(None, visitor.tenant)]
    types = offered_types(*wire_formats)

    def create() -> HttpResponse:
        form = NewEndpointForm(request.POST, types=types, wire_formats=wire_formats)

        def act() -> tuple[Endpoint, str]:
            return create_endpoint(visitor.tenant, **form.values(), actor=visitor.actor)

        made = run_action(form, act, EndpointForm.refuse)
        if made is None:
            form.remind_of_secrets()
            return _form_page(request, visitor, form, status=422)
        return secret_shown(request, visitor, *made, "created")

    if request.method == "POST":
        return submit_once(request, visitor, create)
    chosen = request.GET.getlist("event")  # a page of the catalogue may link here
    initial = {"which": "some" if chosen else "all", "events": chosen}
    return _form_page(request, visitor, NewEndpointForm(types=types, wire_formats=wire_formats, initial=initial))


@dashboard_view("GET", "POST", manages=True)
def endpoint_edit(request: HttpRequest, visitor: Visitor, public_id: str) -> HttpResponse:
    row = get_own_or_404(Endpoint.objects.visible().prefetch_related("subscriptions"), "wh", public_id, visitor)
    types = offered_types(get_wire_format(row.wire_format))
    stored_url = row.url

    def change() -> HttpResponse:
        form = ChangeEndpointForm(request.POST, endpoint=row, types=types)
        if form.is_valid() and not form.changes():
            return to_endpoint(row, "same")

        def act() -> tuple[Endpoint, str | None]:
            return change_endpoint(row, **form.changes(), actor=visitor.actor)

        done = run_action(form, act, EndpointForm.refuse)
        if done is None:
            form.remind_of_secrets()
            return _form_page(request, visitor, form, row, status=422)
        changed, secret = done
        if secret is not None:
            return secret_shown(request, visitor, changed, secret, "moved")
        moved = changed.url != stored_url
        return to_endpoint(row, "duplicate" if moved and duplicate_of(changed) else "changed")

    if request.method == "POST":
        return submit_once(request, visitor, change)
    return _form_page(request, visitor, ChangeEndpointForm(endpoint=row, types=types), row)


def _form_page(
    request: HttpRequest, visitor: Visitor, form: EndpointForm, row: Endpoint | None = None, status: int = 200
) -> HttpResponse:
    context: dict[str, Any] = {
        "section": ENDPOINTS,
        "endpoint": row,
        "form": form,
        "form_id": request.POST.get("form_id") or form_id(),
    }
    if row is None:
        plan = plan_of(visitor.tenant)
        total = Endpoint.objects.counted().filter(tenant=visitor.tenant).count()
        context |= {
            "plan": plan,
            "total": total,
            "full": plan.endpoint_limit is not None and total >= plan.endpoint_limit,
        }
    else:
        context["unreadable_headers"] = header_names(row) is None
        context["unreadable_authentication"] = shown_authentication(row) is None
    return render_page(request, visitor, "endpoint_form", context, status=status)


paths = [
    path("endpoints/new", endpoint_new, name="endpoint_new"),
    path("endpoints/<str:public_id>/edit", endpoint_edit, name="endpoint_edit"),
]
