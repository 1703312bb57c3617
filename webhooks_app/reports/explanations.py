"""What became of something, in plain words. Pure: rows and a time in, words out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from webhooks_app.exceptions import WebhooksError
from webhooks_app.models import Delivery, DeliveryStatus, Endpoint, EndpointQueue, EndpointStatus
from webhooks_app.reports.outcomes import outcome_in_words

_DISABLED = {
    "gone": gettext_lazy("The receiver answered 410 Gone, which asks us to stop."),
    "failures": gettext_lazy("Too many requests in a row failed."),
    "days": gettext_lazy("It failed for days without a single success."),
    "idle": gettext_lazy("Nobody has used it for a week."),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """To "did you send it?". `verdict` is "yes", "no" or "waiting"."""

    verdict: str
    text: str


def disabled_in_words(reason: str) -> str:
    """Why an endpoint is off: the engine's own reason in words, a person's as it was written."""
    return str(_DISABLED.get(reason, reason))


def error_in_words(error: WebhooksError) -> str:
    """An error in the reader's language; in English where its message is not one that is translated."""
    text = _(error.text)
    return text % error.values if error.values else text


def moment(at: datetime) -> str:
    """A time to the second, with its zone: what people compare with their own logs."""
    return date_format(timezone.localtime(at), "Y-m-d H:i:s T")


def answer_for(delivery: Delivery, endpoint: Endpoint | None, queue: EndpointQueue | None, now: datetime) -> Answer:
    """Was it sent, and if not, why, and when will it be? `endpoint` and `queue` are None where they were removed."""
    if delivery.status == DeliveryStatus.PENDING:
        return Answer("waiting", " ".join([*_so_far(delivery), _what_next(delivery, endpoint, queue, now)]))
    done = moment(delivery.completed_at) if delivery.completed_at else "–"
    if delivery.status == DeliveryStatus.SUCCEEDED:
        text = _("Yes. The receiver accepted it on %(at)s, with HTTP status %(status)s at request %(number)s.")
        return Answer("yes", text % {"at": done, "status": delivery.last_status, "number": delivery.attempts})
    if delivery.status == DeliveryStatus.CANCELLED:
        return Answer("no", " ".join([_("No. It was cancelled on %(at)s.") % {"at": done}, *_so_far(delivery)]))
    return Answer("no", " ".join([_("No. It was given up on %(at)s.") % {"at": done}, *_so_far(delivery)]))


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


def _what_next(delivery: Delivery, endpoint: Endpoint | None, queue: EndpointQueue | None, now: datetime) -> str:
    if endpoint is None or endpoint.is_deleted:
        return _("Its endpoint was deleted; it will not be sent.")
    if endpoint.status == EndpointStatus.PAUSED:
        return _("Not yet: its endpoint is paused. It is sent when somebody resumes that.")
    if endpoint.status == EndpointStatus.DISABLED:
        return _("Not yet: its endpoint is disabled. It is sent when somebody enables that.")
    if queue is not None and queue.not_before > max(now, delivery.next_attempt_at):
        return _("Not yet: its endpoint is held back until %(at)s, because of failures, or a limit of its rate.") % {
            "at": moment(queue.not_before)
        }
    if delivery.next_attempt_at > now:
        return _("Not yet: it is sent on %(at)s.") % {"at": moment(delivery.next_attempt_at)}
    return _("Not yet: it is due since %(at)s and waits for its turn.") % {"at": moment(delivery.next_attempt_at)}
