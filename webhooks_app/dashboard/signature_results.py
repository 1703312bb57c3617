"""Explain the result of a signature check: what is wrong, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.utils.translation import gettext_lazy as _

from webhooks_app.dashboard.retry_summary import format_duration
from webhooks_app.deliveries.explain import error_in_words
from webhooks_app.endpoints.check_signature import SignatureCheckResult, SignatureProblem

#: Result → (what is wrong, what to do).
WORDS = {
    SignatureProblem.NO_HEADERS: (
        _("These are not headers."),
        _("Paste one on each line, such as “webhook-id: evt_…”, or a JSON object with names and values."),
    ),
    SignatureProblem.HEADER_MISSING: (
        _("A header is missing."),
        _("Proxies and frameworks drop or rename headers at times. Log what arrives at your server’s edge."),
    ),
    SignatureProblem.UNUSABLE_KEY: (
        _("This secret cannot sign anything."),
        _("Copy the whole of it, with what it begins with, and without quotes around it."),
    ),
    SignatureProblem.TIME_UNREADABLE: (
        _("The timestamp is no number of seconds."),
        _("Take the header as it came; do not turn it into a date."),
    ),
    SignatureProblem.TOO_OLD: (
        _("The signature is right, but the request is too old by now."),
        _(
            "Right, if it arrived a while ago: then this secret and this body belong together. If it has come just now, your "
            "server or somebody on the way held it back, or sends it a second time."
        ),
    ),
    SignatureProblem.TOO_EARLY: (
        _("The signature is right, but the request is from the future."),
        _("A clock is wrong, most likely your server’s when it refuses such requests. Let it be set by NTP."),
    ),
    SignatureProblem.LINE_BREAKS: (
        _("The signature is right for this body with other line breaks."),
        _(
            "Copying may have done that, and then all is well. If your server reads the body as text, let it read the bytes "
            "instead."
        ),
    ),
    SignatureProblem.BODY_RESERIALIZED: (
        _("The signature is right for the same JSON, written differently."),
        _("Something parsed the body and wrote it again. Verify the bytes as they came, before anything parses them."),
    ),
    SignatureProblem.BODY_CHANGED: (
        _("The secret is right, but this is not the body that we sent."),
        _("Compare it with the one on the event’s page. Something on the way changed it, or it is another request’s."),
    ),
    SignatureProblem.UNUSUAL_KEY_FORMAT: (
        _("The signature does not fit, and this is hardly the secret. Secrets of this wire format begin with:"),
        _(
            "Copy the whole of the endpoint’s secret, from where your server keeps it. Only one that you brought along "
            "yourself may look different."
        ),
    ),
    SignatureProblem.WRONG_KEY: (
        _("The body is what we sent, but it was signed with another secret, or these are another request’s headers."),
        _("Each endpoint has a secret of its own. It may also have been replaced: then use the new one."),
    ),
    SignatureProblem.NO_MATCH: (
        _("The signature does not fit: the secret is another one, or the body was changed."),
        _(
            "Check that the secret is this endpoint’s newest, and that the body is complete, each space and line break "
            "included. Take headers and body from one request."
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class CheckMessage:
    good: bool
    title: str
    advice: str
    detail: str
    #: What else is unusual, in one sentence.
    besides: str = ""


def message_of(result: SignatureCheckResult) -> CheckMessage:
    if result.problem is None:
        advice = _("Secret, body, signature and time fit together. A receiver that does the same accepts it.")
        return CheckMessage(True, str(_("This request is genuine.")), str(advice), "")
    title, advice = WORDS[result.problem]
    return CheckMessage(False, str(title), str(advice), _detail(result), _besides(result.late))


def _detail(result: SignatureCheckResult) -> str:
    if result.error is not None:
        return error_in_words(result.error)
    if result.seconds:
        return str(_("Off by %(time)s.") % {"time": format_duration(timedelta(seconds=result.seconds))})
    return result.detail


def _besides(late: int) -> str:
    if not late:
        return ""
    time = {"time": format_duration(timedelta(seconds=abs(late)))}
    if late < 0:
        return str(_("Besides, the timestamp is %(time)s ahead: a clock is wrong, or the header was changed.") % time)
    return str(
        _(
            "Besides, the timestamp is %(time)s old. If it was so when the request arrived, that alone is a reason to refuse "
            "it; else look whether the headers are of the same request as the body."
        )
        % time
    )
