"""The kinds of notifications: how each is sent, its text, and its operational event.

To add a kind, add its value to `models.notification.NotificationKind`, its entry to `KINDS`, and the code that writes the
notification: for results of requests an `Announcement` in `engine/recorded_batch.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.formats import date_format, localize
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from webhooks_app.conf import settings
from webhooks_app.core.catalogue import EventType
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.deliveries.explain import disabled_in_words
from webhooks_app.deliveries.outcomes import explanation_of
from webhooks_app.models import Notification, NotificationKind
from webhooks_app.models.ids import public_id
from webhooks_app.notifications.certificates import EXPIRED, EXPIRES


@dataclass(frozen=True, slots=True)
class Facts:
    """What the notifications of one kind say about one endpoint."""

    #: The number of deliveries.
    count: int
    #: A delivery's public id, or empty.
    example: str = ""
    reason: str = ""
    drop_at: datetime | None = None
    expires_at: datetime | None = None

    def and_later(self, later: Facts, *, adds_up: bool) -> Facts:
        """Combine these facts with those of a later notification of the same kind."""
        count = self.count + later.count if adds_up else later.count
        return replace(later, count=count, example=self.example or later.example)


@dataclass(frozen=True, slots=True)
class NotificationDefinition:
    """How notifications of one kind are sent, and their texts."""

    value: NotificationKind
    #: Shown in the admin.
    label: Any
    #: Subject of an e-mail about one endpoint. If there are several kinds, the highest rank provides the subject and the
    #: advice.
    subject: Any
    subject_rank: int
    #: What happened, for the e-mails to the tenant and to staff.
    sentence: Callable[[Facts], str]
    #: What the tenant should do.
    advice: Any
    advice_rank: int
    #: The type of the operational event. The keys of its example are those of its data; `operational_events` has all of them.
    event: EventType
    #: Send every one at once. Otherwise only the first is, and further ones are collected for DIGEST_SECONDS.
    urgent: bool = True
    #: Whether the e-mail names one of the deliveries.
    names_delivery: bool = False
    #: Whether the counts of several notifications add up. Otherwise the last count is used.
    adds_up: bool = True
    #: The opposite kind: the later of the two describes the current state.
    opposite: NotificationKind | None = None
    #: The endpoint works again, so the start of its failure is no longer mentioned.
    ends_failure: bool = False
    #: The writer claims the notification, as if it was being sent, while it still counts deliveries.
    claimed_while_counting: bool = False


def facts_of(notification: Notification) -> Facts:
    """Return the facts of one notification."""
    key = notification.delivery_id
    example = public_id("dlv", key) if key is not None else ""
    return Facts(notification.count, example, notification.reason, notification.drop_at, notification.expires_at)


def label_of(kind: str) -> str:
    """Return the kind's label in the admin, or its value if this version does not know the kind."""
    return str(KINDS[NotificationKind(kind)].label) if kind in KINDS else kind


# --- sentences -----------------------------------------------------------------------------------------------------------


def _disabled(facts: Facts) -> str:
    because = disabled_in_words(facts.reason)
    return " ".join(filter(None, [_("It was switched off; nothing more is sent to it."), because]))


def _recovered(facts: Facts) -> str:
    return _("It works again: requests are accepted.")


def _exhausted(facts: Facts) -> str:
    words = ngettext(
        "%(count)s delivery was given up after every retry had failed.",
        "%(count)s deliveries were given up after every retry had failed.",
        facts.count,
    )
    sentences = [words % {"count": localize(facts.count)}]
    if facts.reason == OutcomeKind.AUTHENTICATION_FAILED:  # the receiver, which the advice is about, was not asked
        explanation = explanation_of(facts.reason)
        sentences += [str(explanation.what), str(explanation.advice)]
    return " ".join(sentences)


def _backlog_expiring(facts: Facts) -> str:
    pending = ngettext(
        "%(count)s delivery is pending for this endpoint, which is paused or disabled.",
        "%(count)s deliveries are pending for this endpoint, which is paused or disabled.",
        facts.count,
    ) % {"count": localize(facts.count)}
    if facts.drop_at is None:
        most = localize(settings().BACKLOG.MAX_DELIVERIES)
        bound = _("At most %(most)s are kept; beyond that the oldest are dropped.") % {"most": most}
    else:
        bound = _("The oldest will be dropped on %(at)s, the others when they reach the same age.") % {
            "at": _moment(facts.drop_at)
        }
    return f"{pending} {bound}"


def _backlog_dropped(facts: Facts) -> str:
    dropped = ngettext(
        "%(count)s pending delivery was dropped, because the endpoint was paused or disabled for too long or had too many "
        "pending deliveries.",
        "%(count)s pending deliveries were dropped, because the endpoint was paused or disabled for too long or had too "
        "many pending deliveries.",
        facts.count,
    ) % {"count": localize(facts.count)}
    more = _("More are dropped until the endpoint is enabled or resumed; you are not notified again.")
    return f"{dropped} {more}"


def _certificate(facts: Facts) -> str:
    if facts.expires_at is None:
        return ""
    if facts.reason == EXPIRED:
        sentence = _(
            "A certificate of this endpoint expired on %(at)s. Deliveries fail unless your server accepts that."
        )
    else:
        sentence = _("A certificate of this endpoint expires on %(at)s. Many servers refuse requests from then on.")
    return sentence % {"at": _moment(facts.expires_at)}


def _moment(at: datetime) -> str:
    return date_format(timezone.localtime(at), "Y-m-d H:i T")


# --- the table -----------------------------------------------------------------------------------------------------------

_DATA = {
    "tenant": "customer-17",
    "endpoint": "wh_0197f3a49c7e7d0f9a5b3c1d2e4f6a8b",
    "url": "https://example.com/webhooks",
    "count": 1,
    "reason": "days",
    "delivery": "dlv_0197f3a49c7e7d0f9a5b3c1d2e4f6a8c",
    "happened_at": "2026-04-01T10:00:05.000Z",
}
_BACKLOG_DATA = {**_DATA, "count": 1200, "reason": "age"}
_GROUP = "Operations"
_KEEP_BACKLOG = gettext_lazy(
    "enable or resume the endpoint while the deliveries are still kept. If you no longer need it, delete it."
)

#: In the order of an e-mail's sentences.
_TABLE = (
    NotificationDefinition(
        NotificationKind.DISABLED,
        label=gettext_lazy("endpoint disabled"),
        subject=gettext_lazy("Webhook endpoint switched off"),
        subject_rank=50,
        sentence=_disabled,
        advice=gettext_lazy(
            "fix your server, then enable the endpoint. What was waiting is sent then; what happened in between you get "
            "with “Recover”."
        ),
        advice_rank=50,
        event=EventType("webhooks.endpoint_disabled", "An endpoint was switched off.", _DATA, group=_GROUP),
        opposite=NotificationKind.RECOVERED,
    ),
    NotificationDefinition(
        NotificationKind.RECOVERED,
        label=gettext_lazy("endpoint works again"),
        subject=gettext_lazy("Webhook endpoint works again"),
        subject_rank=40,
        sentence=_recovered,
        advice=gettext_lazy("nothing, unless deliveries were given up meanwhile; you can send those again."),
        advice_rank=0,
        event=EventType(
            "webhooks.endpoint_recovered", "An endpoint that had failed answers again.", _DATA, group=_GROUP
        ),
        opposite=NotificationKind.DISABLED,
        ends_failure=True,
    ),
    NotificationDefinition(
        NotificationKind.EXHAUSTED,
        label=gettext_lazy("deliveries that failed"),
        subject=gettext_lazy("Webhooks could not be delivered"),
        subject_rank=10,
        sentence=_exhausted,
        advice=gettext_lazy(
            "see that your server can be reached and answers with a 2xx status in time, then send the failed deliveries again."
        ),
        advice_rank=10,
        event=EventType("webhooks.delivery_exhausted", "Deliveries to an endpoint were given up.", _DATA, group=_GROUP),
        urgent=False,
        names_delivery=True,
    ),
    NotificationDefinition(
        NotificationKind.BACKLOG_EXPIRING,
        label=gettext_lazy("pending deliveries will be dropped"),
        subject=gettext_lazy("Pending webhooks will be dropped"),
        subject_rank=20,
        sentence=_backlog_expiring,
        advice=_KEEP_BACKLOG,
        advice_rank=20,
        event=EventType(
            "webhooks.backlog_expiring",
            "Deliveries that are pending for a paused or disabled endpoint will be dropped.",
            {**_BACKLOG_DATA, "drop_at": "2026-04-07T10:00:05.000Z"},
            group=_GROUP,
        ),
        adds_up=False,
    ),
    NotificationDefinition(
        NotificationKind.BACKLOG_DROPPED,
        label=gettext_lazy("pending deliveries dropped"),
        subject=gettext_lazy("Pending webhooks were dropped"),
        subject_rank=30,
        sentence=_backlog_dropped,
        advice=_KEEP_BACKLOG,
        advice_rank=30,
        event=EventType(
            "webhooks.backlog_dropped",
            "Deliveries that were pending for a paused or disabled endpoint were dropped.",
            _BACKLOG_DATA,
            group=_GROUP,
        ),
        claimed_while_counting=True,
    ),
    NotificationDefinition(
        NotificationKind.CERTIFICATE,
        label=gettext_lazy("certificate expires"),
        subject=gettext_lazy("A certificate of a webhook endpoint expires"),
        subject_rank=35,
        sentence=_certificate,
        advice=gettext_lazy("upload a new certificate to the endpoint. The new one is used within a few seconds."),
        advice_rank=35,
        event=EventType(
            "webhooks.certificate_expires",
            "The client certificate of an endpoint, or its certificate authorities, will expire soon or have expired.",
            {**_DATA, "reason": EXPIRES, "delivery": None, "expires_at": "2026-04-08T10:00:00.000Z"},
            group=_GROUP,
        ),
        adds_up=False,
    ),
)
#: By the value stored in the database. A notification of any other kind was written by another version of this app.
KINDS: dict[str, NotificationDefinition] = {kind.value: kind for kind in _TABLE}
COLLECTED = [kind.value for kind in _TABLE if not kind.urgent]
CLAIMED_WHILE_COUNTING = [kind.value for kind in _TABLE if kind.claimed_while_counting]
