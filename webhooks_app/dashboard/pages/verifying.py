"""How to receive: verify, answer, expect repetitions. And a check for a signature that does not fit."""

from __future__ import annotations

from datetime import timedelta

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils import timezone

from webhooks_app.actions.check_signature import check_signature
from webhooks_app.actions.wire import profile_among, profiles_of
from webhooks_app.conf import settings
from webhooks_app.core.profile import Profile
from webhooks_app.core.signing import TOLERANCE
from webhooks_app.dashboard import patience, wire
from webhooks_app.dashboard.findings import Told, told
from webhooks_app.dashboard.forms.signature import SignatureForm
from webhooks_app.dashboard.page import page, show
from webhooks_app.dashboard.sections import VERIFYING
from webhooks_app.dashboard.visitors import Visitor
from webhooks_app.snippets import LANGUAGES, has_snippets, snippet


@page("GET", "POST")
def verifying(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    profiles = profiles_of(visitor.tenant)
    profile = profile_among(profiles, request.GET.get("profile", ""))
    form = SignatureForm(request.POST or None) if request.method == "POST" else SignatureForm()
    result = _result(visitor, profile, form) if form.is_valid() else None
    context = {
        "section": VERIFYING,
        "profile": profile,
        "profiles": profiles,
        "headers": wire.headers(profile),
        "content": wire.signed_content(profile),
        "dated": wire.is_dated(profile),
        "names_the_event": wire.names_the_event(profile),
        "tolerance": TOLERANCE // 60,
        "languages": _snippets(profile),
        "tries": patience.tries(profile),
        "rules": patience.rules(profile, visitor.tenant.email),
        "overlap": _overlap(),
        "egress": list(settings().EGRESS_ADDRESSES),
        "form": form,
        "result": result,
    }
    return show(request, visitor, "verifying", context, status=422 if form.is_bound and result is None else 200)


def _result(visitor: Visitor, profile: Profile, form: SignatureForm) -> Told:
    given = form.cleaned_data
    return told(
        check_signature(
            visitor.tenant,
            profile,
            headers=given["headers"],
            body=given["body"],
            secret=given["secret"],
            now=timezone.now(),
        )
    )


def _overlap() -> str:
    """How long a replaced secret stays good; empty: it does not."""
    hours = settings().ROTATION_OVERLAP_HOURS
    return patience.in_words(timedelta(hours=hours)) if hours else ""


def _snippets(profile: Profile) -> list[tuple[str, str, str]]:
    """Name and title of each language, and the code in it; none for a signature scheme of the host's own."""
    if not has_snippets(profile):
        return []
    return [(language.name, language.title, snippet(profile, language)) for language in LANGUAGES]


paths = [
    path("verifying", verifying, name="verifying"),
]
