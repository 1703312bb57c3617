"""The actions of staff on an endpoint."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from webhooks_app.admin.links import page_of
from webhooks_app.admin.row_actions import ActionResult, RowAction
from webhooks_app.admin.service_admin import StrictJSON
from webhooks_app.conf import settings
from webhooks_app.deliveries.outcomes import outcome_in_words
from webhooks_app.deliveries.recover import recover
from webhooks_app.deliveries.test_event import EXAMPLE, send_test_event
from webhooks_app.endpoints.secrets import rotate_secret
from webhooks_app.endpoints.status import (
    delete_endpoint,
    disable_endpoint,
    enable_endpoint,
    pause_endpoint,
    resume_endpoint,
)
from webhooks_app.events.types import event_types
from webhooks_app.models import Delivery, Endpoint, EndpointStatus

_MOST_OVERLAP_HOURS = 24 * 30


class ReasonForm(forms.Form):
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        required=False,
        max_length=255,
        help_text=gettext_lazy("The customer can read it."),
    )


class RotationForm(forms.Form):
    overlap_hours = forms.FloatField(
        label=gettext_lazy("Overlap in hours"),
        min_value=0,
        max_value=_MOST_OVERLAP_HOURS,
        help_text=gettext_lazy(
            "How long the old secret stays valid beside the new one. 0: it ends at once, as after a leak."
        ),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["overlap_hours"].initial = settings().ROTATION_OVERLAP_HOURS


class TestEventForm(forms.Form):
    type = forms.ChoiceField(label=gettext_lazy("Event type"))
    payload = StrictJSON(
        label=gettext_lazy("Data"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 6, "class": "vLargeTextField"}),
        help_text=gettext_lazy("JSON; empty: the type's example."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = [type_.name for type_ in event_types()]
        self.fields["type"].choices = [(name, name) for name in names]  # type: ignore[attr-defined]


class RecoveryForm(forms.Form):
    since = forms.DateTimeField(
        label=gettext_lazy("Since"),
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        zone = timezone.get_current_timezone_name()
        oldest = settings().RETENTION_DAYS
        self.fields["since"].help_text = _(
            "In the time zone %(zone)s. What is older than %(days)s days is gone, and not recovered."
        ) % {"zone": zone, "days": f"{oldest:g}"}
        self.fields["since"].initial = timezone.localtime() - timedelta(days=1)


def _rotate(row: Endpoint, *, actor: str, overlap_hours: float) -> ActionResult:
    rotated = rotate_secret(row, overlap=timedelta(hours=overlap_hours), actor=actor)
    context = {"secret": rotated.text, "previous_expires_at": rotated.previous_expires_at}
    return ActionResult(template="admin/webhooks_app/secret.html", context=context)


def _test(row: Endpoint, *, actor: str, type: str, payload: Any = None) -> ActionResult:  # noqa: A002 - as the form names it
    attempt = send_test_event(row, type=type, data=EXAMPLE if payload is None else payload, actor=actor)
    words = outcome_in_words(attempt.outcome, attempt.status)
    status = "" if attempt.status is None else f"HTTP {attempt.status}, "
    message = _("Test event: %(status)s%(time)s ms. %(words)s") % {
        "status": status,
        "time": f"{attempt.duration_ms:.0f}",
        "words": words,
    }
    level = messages.SUCCESS if attempt.outcome == "succeeded" else messages.WARNING
    return ActionResult(message, level, page_of(Delivery(pk=attempt.delivery_id)))


def _recover(row: Endpoint, *, actor: str, since: datetime) -> ActionResult:
    report = recover(row, since, actor=actor)
    text = _("%(resent)s deliveries that had failed are sent again; %(created)s were made that there had never been.")
    return ActionResult(text % {"resent": report.resent, "created": report.created})


def _is(*statuses: EndpointStatus) -> Any:
    return lambda row: row.status in statuses


_ALIVE = (EndpointStatus.ACTIVE, EndpointStatus.PAUSED, EndpointStatus.DISABLED)

ACTS = (
    RowAction(
        "pause",
        gettext_lazy("Pause"),
        gettext_lazy("Nothing more is sent until it is resumed. Deliveries go on being made, and wait."),
        "pause_endpoint",
        pause_endpoint,
        ReasonForm,
        fits=_is(EndpointStatus.ACTIVE),
    ),
    RowAction(
        "resume",
        gettext_lazy("Resume"),
        gettext_lazy("What waits is sent, the oldest first."),
        "pause_endpoint",
        resume_endpoint,
        confirms=False,
        fits=_is(EndpointStatus.PAUSED),
    ),
    RowAction(
        "disable",
        gettext_lazy("Disable"),
        gettext_lazy(
            "Nothing more is sent, and new events make no deliveries for it. The customer is told by e-mail. “Recover” makes "
            "up for it later."
        ),
        "disable_endpoint",
        disable_endpoint,
        ReasonForm,
        dangerous=True,
        fits=_is(EndpointStatus.ACTIVE, EndpointStatus.PAUSED),
    ),
    RowAction(
        "enable",
        gettext_lazy("Enable"),
        gettext_lazy("It starts with a clean record, and what was kept is sent."),
        "disable_endpoint",
        enable_endpoint,
        confirms=False,
        fits=_is(EndpointStatus.DISABLED),
    ),
    RowAction(
        "test",
        gettext_lazy("Send a test event"),
        gettext_lazy(
            "One request, now, whatever it subscribes to. It is not retried and does not count for its health."
        ),
        "test_endpoint",
        _test,
        TestEventForm,
        bulk=False,
        fits=_is(*_ALIVE),
    ),
    RowAction(
        "rotate-secret",
        gettext_lazy("Rotate the secret"),
        gettext_lazy(
            "A new signing secret is made and shown once. While the overlap lasts, requests are signed so that both the old "
            "and the new secret verify them; then the old one stops working."
        ),
        "rotate_secret",
        _rotate,
        RotationForm,
        bulk=False,
        dangerous=True,
        fits=lambda row: not row.is_callback and not row.is_deleted,
    ),
    RowAction(
        "recover",
        gettext_lazy("Recover"),
        gettext_lazy("Sends again what failed since then, and what was never made for it because it was disabled."),
        "recover_endpoint",
        _recover,
        RecoveryForm,
        bulk=False,
        fits=lambda row: not row.is_callback and not row.is_deleted,
    ),
    RowAction(
        "delete",
        pgettext_lazy("endpoint", "Delete"),
        gettext_lazy(
            "It is gone for the customer, what waits is cancelled, and its history stays readable for a while."
        ),
        "delete_endpoint",
        delete_endpoint,
        dangerous=True,
        fits=_is(*_ALIVE),
    ),
)
