"""API keys: list, create and revoke."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import NoReverseMatch, path, reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from webhooks_app.dashboard.access import Visitor
from webhooks_app.dashboard.form_errors import run_action
from webhooks_app.dashboard.keyset import BEFORE, newest
from webhooks_app.dashboard.one_time_form import form_id, submit_once
from webhooks_app.dashboard.page_view import dashboard_view, get_own_or_404, render_page
from webhooks_app.dashboard.sections import KEYS
from webhooks_app.exceptions import NotAllowed
from webhooks_app.models import ApiKey, PortalLink, Scope
from webhooks_app.tenants.api_keys import MAX_NAME, create_api_key, revoke_api_key

#: The number of unusable keys shown, the newest first.
UNUSABLE_SHOWN = 50
_DONE = {"revoked": _("The key is revoked. Whoever uses it is refused from now on.")}

#: Scope → what a key with it may do, for readers.
SCOPES = {
    Scope.WEBHOOKS_READ.value: _("See webhooks, events, deliveries and event types"),
    Scope.WEBHOOKS_WRITE.value: _("Add, change, test and delete webhooks; send deliveries again"),
    Scope.EVENTS_WRITE.value: _("Publish events, which are then sent to your webhooks"),
    Scope.PORTAL_WRITE.value: _("Make links that open these pages for whoever has them"),
}

#: Dates from here on are refused: they may overflow in some time zones.
_FAR = date(9000, 1, 1)
NEVER, ON_A_DAY = "never", "day"
_EXPIRIES = (
    ("30", _("In 30 days")),
    ("90", _("In 90 days")),
    ("365", _("In a year")),
    (ON_A_DAY, _("On a day that I choose")),
    (NEVER, _("Never")),
)


class KeyForm(forms.Form):
    name = forms.CharField(
        label=_("Name"),
        help_text=_("Which program will use it, so that you know it again."),
        max_length=MAX_NAME,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    scopes = forms.MultipleChoiceField(
        label=_("What it may do"),
        choices=list(SCOPES.items()),
        initial=[Scope.WEBHOOKS_READ.value],
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": _("Choose at least one.")},
    )
    expires = forms.ChoiceField(
        label=_("Expires"),
        help_text=_("A key that expires does less harm when it gets lost."),
        choices=_EXPIRIES,
        initial="90",
    )
    expires_at = forms.DateField(
        label=_("Last day, if you choose the day"),
        help_text=_("The key is good until this day ends."),
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )

    def __init__(self, *args: Any, portal_link: PortalLink | None = None, **kwargs: Any) -> None:
        """`portal_link`: in its session, only its scopes are offered."""
        super().__init__(*args, **kwargs)
        if portal_link is not None:
            scopes = self.fields["scopes"]
            assert isinstance(scopes, forms.MultipleChoiceField)
            scopes.choices = [(scope, words) for scope, words in SCOPES.items() if scope in portal_link.scopes]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("expires") != ON_A_DAY:
            self.errors.pop("expires_at", None)  # the entered date does not matter then
        elif "expires_at" not in self.errors:
            last = cleaned.get("expires_at")
            if last is None:
                self.add_error("expires_at", _("Enter the day."))
            elif last < timezone.localdate():
                self.add_error("expires_at", _("This day is over. Choose today or a later one."))
        return cleaned

    def expiry(self) -> datetime | None:
        """Return when the key of a valid form expires; None: never. The day ends in the reader's time zone."""
        chosen = self.cleaned_data["expires"]
        if chosen == NEVER:
            return None
        if chosen != ON_A_DAY:
            return timezone.now() + timedelta(days=int(chosen))
        last: date = min(self.cleaned_data["expires_at"], _FAR)
        return timezone.make_aware(datetime.combine(last + timedelta(days=1), time()))


@dashboard_view()
def keys(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    rows = ApiKey.objects.filter(tenant=visitor.tenant)
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
    key = get_own_or_404(ApiKey.objects.all(), "key", public_id, visitor)
    if visitor.portal_link is not None and not visitor.portal_link.allows(key.scopes):
        raise NotAllowed()  # the link's maker could not have used it
    if request.method == "POST":
        revoke_api_key(key, actor=visitor.actor)
        return redirect(f"{reverse('webhooks_app:keys')}?done=revoked")
    return render_page(request, visitor, "key_revoke", {"section": KEYS, "key": key})


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
