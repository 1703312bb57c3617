"""API keys: list, create and revoke."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import NoReverseMatch, path, reverse
from django.utils.translation import gettext_lazy as _

from webhooks_app.dashboard.access import Visitor
from webhooks_app.dashboard.form_errors import run_action
from webhooks_app.dashboard.forms.keys import SCOPES, KeyForm
from webhooks_app.dashboard.keyset import BEFORE, newest
from webhooks_app.dashboard.one_time_form import form_id, submit_once
from webhooks_app.dashboard.page_view import dashboard_view, get_own_or_404, render_page
from webhooks_app.dashboard.sections import KEYS
from webhooks_app.exceptions import NotAllowed
from webhooks_app.models import ApiKey
from webhooks_app.models.api_key import ApiKeyQuerySet
from webhooks_app.tenants.api_keys import create_api_key, revoke_api_key

#: The number of unusable keys shown, the newest first.
UNUSABLE_SHOWN = 50
_DONE = {"revoked": _("The key is revoked. Whoever uses it is refused from now on.")}


@dashboard_view()
def keys(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    rows = _keys().filter(tenant=visitor.tenant)
    usable = newest(rows.usable(), request.GET.get(BEFORE, ""))
    unusable = [] if usable.later else list(rows.unusable().order_by("-pk")[:UNUSABLE_SHOWN])
    context = {
        "section": KEYS,
        "usable": [(key, [SCOPES.get(scope, scope) for scope in key.scopes]) for key in usable.rows],
        "slice": usable,
        "unusable": unusable,
        "done": _DONE.get(request.GET.get("done", "")),
    }
    return render_page(request, visitor, "keys", context)


@dashboard_view("GET", "POST", manages=True)
def new_key(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    if request.method == "POST":
        return submit_once(request, visitor, lambda: _make(request, visitor))
    return _form(request, visitor, KeyForm(portal_link=visitor.portal_link))


@dashboard_view("GET", "POST", manages=True)
def revoke_key(request: HttpRequest, visitor: Visitor, public_id: str) -> HttpResponse:
    key = get_own_or_404(_keys(), "key", public_id, visitor)
    if visitor.portal_link is not None and not visitor.portal_link.allows(key.scopes):
        raise NotAllowed()  # the link's maker could not have used it
    if request.method == "POST":
        revoke_api_key(key, actor=visitor.actor)
        return redirect(f"{reverse('webhooks_app:keys')}?done=revoked")
    return render_page(request, visitor, "key_revoke", {"section": KEYS, "key": key})


def _keys() -> ApiKeyQuerySet:
    return ApiKey.objects.all()


def _make(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    form = KeyForm(request.POST, portal_link=visitor.portal_link)

    def create() -> tuple[ApiKey, str]:
        name, scopes = form.cleaned_data["name"], form.cleaned_data["scopes"]
        return create_api_key(
            visitor.tenant,
            name=name,
            scopes=scopes,
            expires_at=form.expiry(),
            portal_link=visitor.portal_link,
            actor=visitor.actor,
        )

    made = run_action(form, create)
    if made is None:
        return _form(request, visitor, form, status=422)
    key, text = made
    context = {"section": KEYS, "key": key, "text": text, "api": _api(request)}
    return render_page(request, visitor, "key_made", context)


def _form(request: HttpRequest, visitor: Visitor, form: KeyForm, status: int = 200) -> HttpResponse:
    return render_page(request, visitor, "key_new", {"section": KEYS, "form": form, "form_id": form_id()}, status)


def _api(request: HttpRequest) -> str:
    """Return an API URL that a new key can request; empty if the host has not mounted the REST API."""
    try:
        return request.build_absolute_uri(reverse("webhooks_api:webhook-list"))
    except NoReverseMatch:
        return ""


paths = [
    path("keys", keys, name="keys"),
    path("keys/new", new_key, name="key_new"),
    path("keys/<str:public_id>/revoke", revoke_key, name="key_revoke"),
]
