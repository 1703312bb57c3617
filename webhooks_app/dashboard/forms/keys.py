"""The form of a new API key."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from webhooks_app.models import PortalLink, Scope
from webhooks_app.tenants.api_keys import MAX_NAME

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
