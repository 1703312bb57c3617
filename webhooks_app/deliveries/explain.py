"""The result of a delivery or error in plain words. Pure functions: they take rows and a time, and return text."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from webhooks_app.core.retry import STANDARD_RULES
from webhooks_app.deliveries.outcomes import outcome_in_words
from webhooks_app.deliveries.outlook import DeliveryOutlook, DeliveryState, WaitReason
from webhooks_app.exceptions import WebhooksError
from webhooks_app.models import Delivery, DeliveryStatus

_DISABLED = {
    **{rule.reason: gettext_lazy(rule.reason_words) for rule in STANDARD_RULES if rule.reason_words},
    "failures": gettext_lazy("Too many requests in a row failed."),
    "days": gettext_lazy("It failed for days without a single success."),
    "idle": gettext_lazy("Nobody has used it for a week."),
}

#: What happens next to a pending delivery, for staff.
_NEXT = {
    WaitReason.REMOVED: gettext_lazy("Its endpoint was deleted; it will not be sent."),
    WaitReason.PAUSED: gettext_lazy("Not yet: its endpoint is paused. It is sent when somebody resumes that."),
    WaitReason.DISABLED: gettext_lazy("Not yet: its endpoint is disabled. It is sent when somebody enables that."),
    WaitReason.FAILING: gettext_lazy(
        "Not yet: its endpoint is failing and held back until %(at)s. Then one request at a time is made."
    ),
    WaitReason.HELD: gettext_lazy("Not yet: its endpoint is held back until %(at)s, because of a limit of its rate."),
    WaitReason.BEHIND: gettext_lazy(
        "Not yet: it waits for those before it, since its endpoint gets events in their order."
    ),
    WaitReason.LATER: gettext_lazy("Not yet: it is sent on %(at)s."),
    WaitReason.PROBED: gettext_lazy("Not yet: it is due. Its endpoint is failing, and gets one request at a time."),
    WaitReason.DUE: gettext_lazy("Not yet: it is due and waits for its turn."),
}


@dataclass(frozen=True, slots=True)
class DeliveryAnswer:
    """The answer to "Did you send it?". `verdict` is "yes", "no" or "waiting"."""

    verdict: str
    text: str


def disabled_in_words(reason: str) -> str:
    """Return why an endpoint is disabled: the engine's reason in words, a user's reason as entered."""
    return str(_DISABLED.get(reason, reason))


def error_in_words(error: WebhooksError) -> str:
    """Return the error in the reader's language, or in English if its message is not translated."""
    text = _(error.text)
    return text % error.values if error.values else text


def format_timestamp(at: datetime) -> str:
    """Return the time to the second with its zone, for comparison with log files."""
    return date_format(timezone.localtime(at), "Y-m-d H:i:s T")


def answer_for(delivery: Delivery, state: DeliveryState) -> DeliveryAnswer:
    """Explain whether the delivery was sent; if not, why, and when it will be."""
    if state.outlook is not None:
        return _answer_while_pending(delivery, state, state.outlook)
    done = format_timestamp(delivery.completed_at) if delivery.completed_at else "–"
    if delivery.status == DeliveryStatus.SUCCEEDED:
        text = _("Yes. The receiver accepted it on %(at)s, with HTTP status %(status)s at request %(number)s.")
        return DeliveryAnswer("yes", text % {"at": done, "status": delivery.last_status, "number": delivery.attempts})
    cancelled = delivery.status == DeliveryStatus.CANCELLED
    if state.accepted_at:
        again = (
            _("Sending it once more was cancelled on %(at)s.")
            if cancelled
            else _("Sent once more, it was given up on %(at)s.")
        )
        return DeliveryAnswer("yes", " ".join([_accepted(state.accepted_at), again % {"at": done}, *_so_far(delivery)]))
    ended = _("No. It was cancelled on %(at)s.") if cancelled else _("No. It was given up on %(at)s.")
    return DeliveryAnswer("no", " ".join([ended % {"at": done}, *_so_far(delivery)]))


def next_in_words(outlook: DeliveryOutlook) -> str:
    """Return what happens next to a pending delivery, for staff."""
    return str(_NEXT[outlook.kind]) % {"at": format_timestamp(outlook.at) if outlook.at else "–"}


def _answer_while_pending(delivery: Delivery, state: DeliveryState, outlook: DeliveryOutlook) -> DeliveryAnswer:
    if state.accepted_at:
        again = [_accepted(state.accepted_at), _("It is to be sent once more.")]
        return DeliveryAnswer("yes", " ".join([*again, next_in_words(outlook)]))
    return DeliveryAnswer("waiting", " ".join([*_so_far(delivery), next_in_words(outlook)]))


def _accepted(at: datetime) -> str:
    return _("Yes. The receiver accepted it on %(at)s.") % {"at": format_timestamp(at)}


def _so_far(delivery: Delivery) -> list[str]:
    if not delivery.attempts:
        return [_("No request was made.")] if delivery.status != DeliveryStatus.PENDING else []
    made = ngettext("%(count)s request was made.", "%(count)s requests were made.", delivery.attempts)
    words = [made % {"count": delivery.attempts}]
    if delivery.last_outcome:
        words.append(_("The last one: %(words)s") % {"words": _last(delivery)})
    return words


def _last(delivery: Delivery) -> str:
    words = outcome_in_words(delivery.last_outcome, delivery.last_status)
    return words if delivery.last_status is None else f"HTTP {delivery.last_status}. {words}"
