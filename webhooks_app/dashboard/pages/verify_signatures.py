"""How to receive webhooks: verify, respond, ignore duplicates. And a check for a signature that does not match."""

from __future__ import annotations

from datetime import timedelta

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils import timezone

from webhooks_app.conf import settings
from webhooks_app.core.scheme_help import help_of
from webhooks_app.core.signing import TOLERANCE
from webhooks_app.dashboard import retry_summary, signature_help
from webhooks_app.dashboard.access import Visitor
from webhooks_app.dashboard.forms.signature import SignatureForm
from webhooks_app.dashboard.page_view import dashboard_view, render_page
from webhooks_app.dashboard.sections import VERIFYING
from webhooks_app.dashboard.signature_results import CheckMessage, told
from webhooks_app.endpoints.check_signature import check_signature
from webhooks_app.snippets import LANGUAGES, has_snippets, snippet
from webhooks_app.tenants.wire_formats import wire_format_among, wire_formats_of
from webhooks_app.wire_formats.base import WireFormat


@dashboard_view("GET", "POST")
def verifying(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    wire_formats = wire_formats_of(visitor.tenant)
    wire_format = wire_format_among(wire_formats, request.GET.get("wire_format", ""))
    form = SignatureForm(request.POST or None) if request.method == "POST" else SignatureForm()
    result = _result(visitor, wire_format, form) if form.is_valid() else None
    described = help_of(wire_format.scheme)
    context = {
        "section": VERIFYING,
        "wire_format": wire_format,
        "wire_formats": wire_formats,
        "headers": signature_help.headers(wire_format),
        "content": described.signed_content,
        "dated": described.is_dated,
        "event_id_header": described.event_id_header,
        "tolerance": TOLERANCE // 60,
        "languages": _snippets(wire_format),
        "tries": retry_summary.retry_schedule(wire_format),
        "rules": retry_summary.retry_rules(wire_format, visitor.tenant.email),
        "overlap": _overlap(),
        "egress": list(settings().EGRESS_ADDRESSES),
        "form": form,
        "result": result,
    }
    return render_page(request, visitor, "verifying", context, status=422 if form.is_bound and result is None else 200)


def _result(visitor: Visitor, wire_format: WireFormat, form: SignatureForm) -> CheckMessage:
    given = form.cleaned_data
    return told(
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
    path("verifying", verifying, name="verifying"),
]
