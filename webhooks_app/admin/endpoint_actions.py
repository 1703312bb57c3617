"""The actions of staff on an endpoint."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from webhooks_app.admin.links import page_of
from webhooks_app.admin.row_actions import ActionResult, RowAction
from webhooks_app.conf import settings
from webhooks_app.deliveries.outcomes import outcome_in_words
from webhooks_app.deliveries.recover import recover
from webhooks_app.deliveries.test_event import send_test_event
from webhooks_app.endpoints.secrets import rotate_secret
from webhooks_app.endpoints.status import (
    delete_endpoint,
    disable_endpoint,
    enable_endpoint,
    pause_endpoint,
    resume_endpoint,
)
from webhooks_app.events.types import event_types
from webhooks_app.forms.test_and_recover import RecoverForm, TestEventForm
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


def _rotate(row: Endpoint, *, actor: str, overlap_hours: float) -> ActionResult:
    rotated = rotate_secret(row, overlap=timedelta(hours=overlap_hours), actor=actor)
    context = {"secret": rotated.text, "previous_expires_at": rotated.previous_expires_at}
    return ActionResult(template="admin/webhooks_app/secret.html", context=context)


def _test(row: Endpoint, **given: Any) -> ActionResult:
    attempt = send_test_event(row, **given)
    words = outcome_in_words(attempt.outcome, attempt.status)
    status = "" if attempt.status is None else f"HTTP {attempt.status}, "
    message = _("Test event: %(status)s%(time)s ms. %(words)s") % {
        "status": status,
        "time": f"{attempt.duration_ms:.0f}",
        "words": words,
    }
    level = messages.SUCCESS if attempt.outcome == "succeeded" else messages.WARNING
    return ActionResult(message, level, page_of(Delivery(pk=attempt.delivery_id)))


def _recover(row: Endpoint, *, actor: str, since: datetime, after: uuid.UUID | None) -> ActionResult:
    report = recover(row, since, actor=actor)
    text = _("%(resent)s deliveries that had failed are sent again; %(created)s were made that there had never been.")
    return ActionResult(text % {"resent": report.resent, "created": report.created})


def _is(*statuses: EndpointStatus) -> Any:
    return lambda row: row.status in statuses


_ALIVE = (EndpointStatus.ACTIVE, EndpointStatus.PAUSED, EndpointStatus.DISABLED)

ROW_ACTIONS = (
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
        form_options=lambda row: {"types": event_types(), "patterns": row.patterns},
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
        RecoverForm,
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
