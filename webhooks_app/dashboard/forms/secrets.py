"""The form to rotate a secret: how long the old one still signs, and optionally an imported secret."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from webhooks_app.conf import settings
from webhooks_app.forms.fields import WriteOnlyInput

_HOUR = 3600
_OVERLAPS = (0, _HOUR, 24 * _HOUR, 7 * 24 * _HOUR)


class RotationForm(forms.Form):
    """How long the old secret signs, and the new secret."""

    overlap = forms.ChoiceField(label=gettext_lazy("The old secret stays valid"), widget=forms.RadioSelect)
    secret = forms.CharField(
        label=gettext_lazy("Secret of your own"),
        help_text=gettext_lazy("Empty: we make one, which is the safest. What you enter here is not shown again."),
        required=False,
        max_length=500,
        widget=WriteOnlyInput(),
    )

    def __init__(self, data: Any = None) -> None:
        usual = round(settings().ROTATION_OVERLAP_HOURS * _HOUR)
        super().__init__(data, initial={"overlap": str(usual)})
        choices = [(str(seconds), _in_words(seconds)) for seconds in sorted({*_OVERLAPS, usual})]
        self.fields["overlap"].choices = choices  # type: ignore[attr-defined]  # a ChoiceField's

    def values(self) -> dict[str, Any]:
        """Return the values by the argument names of the action."""
        given = self.cleaned_data
        return {"overlap": timedelta(seconds=int(given["overlap"])), "secret": given["secret"] or None}


def _in_words(seconds: int) -> str:
    if not seconds:
        return _("not at all, because others may know it")
    hours = round(seconds / _HOUR)
    if hours < 1:
        return _("for %(minutes)s minutes") % {"minutes": max(round(seconds / 60), 1)}
    if hours % 24 or hours < 48:
        return ngettext("for %(hours)s hour", "for %(hours)s hours", hours) % {"hours": hours}
    return ngettext("for %(days)s day", "for %(days)s days", hours // 24) % {"days": hours // 24}
