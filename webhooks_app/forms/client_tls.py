"""The form fields for an endpoint's client certificate and certificate authorities: as text or as files, never shown again."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from webhooks_app.core.certificates import AUTHORITIES, CERTIFICATE, MAX_AUTHORITIES
from webhooks_app.core.private_keys import MAX_CHARACTERS, MAX_PASSPHRASE, PASSPHRASE, PRIVATE_KEY
from webhooks_app.endpoints.client_tls import ClientTLSInput
from webhooks_app.forms.fields import WriteOnlyTextarea

_FILES = {CERTIFICATE: "certificate_file", PRIVATE_KEY: "private_key_file", AUTHORITIES: "authorities_file"}
_REMOVALS = {CERTIFICATE: "remove_certificate", AUTHORITIES: "remove_authorities"}
FIELDS = (
    *(CERTIFICATE, "certificate_file", PRIVATE_KEY, "private_key_file", PASSPHRASE, "remove_certificate"),
    *(AUTHORITIES, "authorities_file", "remove_authorities"),
)
#: The service's names of fields → those of the form.
FIELDS_OF = {f"client_tls.{name}": name for name in (CERTIFICATE, PRIVATE_KEY, PASSPHRASE, AUTHORITIES)}


def _pem(label: Any, help_text: Any) -> forms.CharField:
    attrs = {"rows": 4, "spellcheck": "false", "autocomplete": "off", "autocapitalize": "off", "class": "pem"}
    return forms.CharField(
        label=label, help_text=help_text, required=False, max_length=MAX_CHARACTERS, widget=WriteOnlyTextarea(attrs)
    )


def _file(label: Any) -> forms.FileField:
    return forms.FileField(
        label=label, required=False, allow_empty_file=True, widget=forms.FileInput({"accept": ".pem,.crt,.cer,.key"})
    )


class ClientTLSFields(forms.Form):
    """The fields alone, for a form of its own or as a part of another one."""

    certificate = _pem(
        gettext_lazy("Client certificate"),
        gettext_lazy("In PEM format. Its intermediate certificates follow below it, if your server needs them."),
    )
    certificate_file = _file(gettext_lazy("Client certificate as a file"))
    private_key = _pem(
        gettext_lazy("Private key"),
        gettext_lazy(
            "In PEM format: RSA with 2048 to 4096 bits, an elliptic curve key (P-256, P-384 or P-521) or Ed25519. It is "
            "stored encrypted and never shown. Leave it empty if you renew a certificate with the same key."
        ),
    )
    private_key_file = _file(gettext_lazy("Private key as a file"))
    passphrase = forms.CharField(
        label=gettext_lazy("Passphrase of the private key"),
        help_text=gettext_lazy("Only if the private key is encrypted. It is used once and not stored."),
        required=False,
        strip=False,
        max_length=MAX_PASSPHRASE,
        widget=forms.PasswordInput({"autocomplete": "off"}),
    )
    remove_certificate = forms.BooleanField(
        label=gettext_lazy("Remove the client certificate and its private key"), required=False
    )
    authorities = _pem(
        gettext_lazy("Certificate authorities"),
        gettext_lazy(
            "In PEM format, at most %(most)s. If your server’s certificate was issued by your own certificate authority, "
            "requests to this endpoint trust it beside the public ones."
        ),
    )
    authorities_file = _file(gettext_lazy("Certificate authorities as a file"))
    remove_authorities = forms.BooleanField(label=gettext_lazy("Remove the certificate authorities"), required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if AUTHORITIES in self.fields:  # users with view permission only have none of them
            help_text = str(self.fields[AUTHORITIES].help_text)
            self.fields[AUTHORITIES].help_text = help_text % {"most": MAX_AUTHORITIES}

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        for part, name in _FILES.items():
            self._take_file(given, part, name)
        for part, name in _REMOVALS.items():
            if given.get(name) and given.get(part):
                self.add_error(name, _("Either remove it or give a new one."))
        return given

    def client_tls(self) -> ClientTLSInput:
        """Return what is to be changed, as `change_endpoint` takes it; empty if nothing is."""
        given = self.cleaned_data
        parts: ClientTLSInput = {}
        for name in (CERTIFICATE, PRIVATE_KEY, PASSPHRASE, AUTHORITIES):
            if given.get(name):
                parts[name] = given[name]
        for part, name in _REMOVALS.items():
            if given.get(name):
                parts[part] = None  # type: ignore[literal-required]  # a key of ClientTLSInput
        return {} if set(parts) == {PASSPHRASE} else parts

    def _take_file(self, given: dict[str, Any], part: str, name: str) -> None:
        file = given.get(name)
        if file is None:
            return
        if given.get(part):
            self.add_error(name, _("Enter the text or choose a file, not both."))
        elif file.size > MAX_CHARACTERS:
            self.add_error(name, _("The file is too large."))
        else:
            file.seek(0)  # the form may be made again for the same request
            try:
                given[part] = file.read().decode()
            except UnicodeDecodeError:
                self.add_error(name, _("The file is not in PEM format. PEM is text that begins with “-----BEGIN”."))
