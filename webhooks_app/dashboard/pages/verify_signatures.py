"""How to receive webhooks: verify, respond, ignore duplicates. And a check for a signature that does not match."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django import forms
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from webhooks_app.conf import settings
from webhooks_app.core.message import Message
from webhooks_app.core.scheme_help import help_of
from webhooks_app.core.signing import TOLERANCE
from webhooks_app.dashboard import retry_summary
from webhooks_app.dashboard.access import Visitor
from webhooks_app.dashboard.page_view import dashboard_view, render_page
from webhooks_app.dashboard.sections import VERIFY_SIGNATURES
from webhooks_app.dashboard.signature_results import CheckMessage, message_of
from webhooks_app.endpoints.check_signature import check_signature
from webhooks_app.exceptions import NotFound
from webhooks_app.models import Endpoint, Tenant
from webhooks_app.snippets import LANGUAGES, has_snippets, snippet
from webhooks_app.wire_formats import get_wire_format, wire_format_names
from webhooks_app.wire_formats.base import WireFormat

_SAMPLE = Message(id="evt_0", type="message.delivered", occurred_at=datetime(2026, 1, 1, tzinfo=UTC), data="{}")
_PLAIN = {"autocomplete": "off", "spellcheck": "false", "autocapitalize": "off"}
MAX_HEADERS = 32_768
MAX_BODY = 1_000_000
MAX_SECRET = 2_000


class SignatureForm(forms.Form):
    """A request whose signature is to be checked."""

    headers = forms.CharField(
        label=gettext_lazy("Headers"),
        help_text=gettext_lazy("As they arrived, one on each line. More than needed does no harm."),
        max_length=MAX_HEADERS,
        widget=forms.Textarea(attrs={**_PLAIN, "rows": 5}),
    )
    body = forms.CharField(
        label=gettext_lazy("Body"),
        help_text=gettext_lazy("As it arrived, before anything parsed it."),
        max_length=MAX_BODY,
        strip=False,
        widget=forms.Textarea(attrs={**_PLAIN, "rows": 5}),
    )
    secret = forms.CharField(
        label=gettext_lazy("Secret"),
        help_text=gettext_lazy("The one that your server verifies with. It is used for this answer, and kept nowhere."),
        max_length=MAX_SECRET,
        strip=False,
        # Not a login: browsers offer to save the value of a "current-password" field.
        widget=forms.PasswordInput(render_value=False, attrs={**_PLAIN, "autocomplete": "new-password"}),
    )


@dashboard_view("GET", "POST")
def verify_signatures(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    wire_formats = _wire_formats(visitor.tenant)
    name = request.GET.get("wire_format", "")
    wire_format = next((one for one in wire_formats if not name or one.name == name), None)
    if wire_format is None:
        raise NotFound()
    form = SignatureForm(request.POST or None) if request.method == "POST" else SignatureForm()
    result = _result(visitor, wire_format, form) if form.is_valid() else None
    described = help_of(wire_format.scheme)
    context = {
        "section": VERIFY_SIGNATURES,
        "wire_format": wire_format,
        "wire_formats": wire_formats,
        "headers": _headers(wire_format),
        "content": described.signed_content,
        "dated": described.is_dated,
        "event_id_header": described.event_id_header,
        "tolerance": TOLERANCE // 60,
        "languages": _snippets(wire_format),
        "tries": retry_summary.retry_schedule(wire_format),
        "rules": retry_summary.retry_rules(wire_format, visitor.tenant.email),
        "overlap": _overlap(),
        "egress": list(settings().EGRESS.ADDRESSES),
        "form": form,
        "result": result,
    }
    return render_page(
        request, visitor, "verify_signatures", context, status=422 if form.is_bound and result is None else 200
    )


def _wire_formats(tenant: Tenant) -> list[WireFormat]:
    """Return the wire format of new endpoints first, then those of existing endpoints."""
    endpoints = Endpoint.objects.visible().filter(tenant=tenant)
    used = set(endpoints.order_by().values_list("wire_format", flat=True).distinct())
    first = tenant.wire_format_name
    known = [name for name in wire_format_names() if name in used and name != first]
    return [get_wire_format(name) for name in (first, *known)]


def _headers(wire_format: WireFormat) -> list[tuple[str, str]]:
    """Return name and meaning of the headers of the signature, then of those that the format adds."""
    signature = [
        (one.name, _(one.meaning) % one.values if one.values else _(one.meaning))
        for one in help_of(wire_format.scheme).headers
    ]
    extra = [
        (name, _("Tells of the event, such as %(value)s.") % {"value": value})
        for name, value in wire_format.extra_headers(_SAMPLE)
    ]
    return [*signature, *extra]


def _result(visitor: Visitor, wire_format: WireFormat, form: SignatureForm) -> CheckMessage:
    given = form.cleaned_data
    return message_of(
        check_signature(
            visitor.tenant,
            wire_format,
            headers=given["headers"],
            body=given["body"],
            secret=given["secret"],
            now=timezone.now(),
        )
    )


def _overlap() -> str:
    """Return how long a replaced secret stays valid; empty if it does not."""
    hours = settings().ROTATION_OVERLAP_HOURS
    return retry_summary.format_duration(timedelta(hours=hours)) if hours else ""


def _snippets(wire_format: WireFormat) -> list[tuple[str, str, str]]:
    """Return name, title and code of each language; nothing for a signature scheme of the host."""
    if not has_snippets(wire_format):
        return []
    return [(language.name, language.title, snippet(wire_format, language)) for language in LANGUAGES]


paths = [
    path("verify-signatures", verify_signatures, name="verify_signatures"),
]
