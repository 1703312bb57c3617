"""The form with a request whose signature is to be checked."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

_PLAIN = {"autocomplete": "off", "spellcheck": "false", "autocapitalize": "off"}
MAX_HEADERS = 32_768
MAX_BODY = 1_000_000
MAX_SECRET = 2_000


class SignatureForm(forms.Form):
    headers = forms.CharField(
        label=_("Headers"),
        help_text=_("As they arrived, one on each line. More than needed does no harm."),
        max_length=MAX_HEADERS,
        widget=forms.Textarea(attrs={**_PLAIN, "rows": 5}),
    )
    body = forms.CharField(
        label=_("Body"),
        help_text=_("As it arrived, before anything parsed it."),
        max_length=MAX_BODY,
        strip=False,
        widget=forms.Textarea(attrs={**_PLAIN, "rows": 5}),
    )
    secret = forms.CharField(
        label=_("Secret"),
        help_text=_("The one that your server verifies with. It is used for this answer, and kept nowhere."),
        max_length=MAX_SECRET,
        strip=False,
        # Not a login: browsers offer to save the value of a "current-password" field.
        widget=forms.PasswordInput(render_value=False, attrs={**_PLAIN, "autocomplete": "new-password"}),
    )
