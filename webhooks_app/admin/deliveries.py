"""Deliveries: answer the question "did you send it?" in one sentence, with the evidence below it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import SEARCH_VAR
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from webhooks_app.admin.attempts import shown_attempt
from webhooks_app.admin.base import LargeTableAdmin, related, time_column
from webhooks_app.admin.filters import StatusFilter, TimeFilter
from webhooks_app.admin.links import MOST_OF_URL, endpoint_link, link, list_of, time
from webhooks_app.admin.payloads import hidden, may_see_payloads
from webhooks_app.admin.row_actions import ActionResult, RowAction, RowActionsMixin
from webhooks_app.admin.search import deliveries_like
from webhooks_app.admin.states import state
from webhooks_app.deliveries.explain import answer_for, next_in_words
from webhooks_app.deliveries.outcomes import outcome_in_words, outcome_name
from webhooks_app.deliveries.outlook import NOW, DeliveryState, outlook_of, state_of
from webhooks_app.deliveries.resend import cancel_delivery, resend, send_now
from webhooks_app.models import (
    Attempt,
    Delivery,
    DeliveryStatus,
    Endpoint,
    EndpointQueue,
    Event,
    database_now,
)
from webhooks_app.templatetags.webhooks import breakable

#: The number of newest requests on a delivery's page.
_ATTEMPTS_SHOWN = 50


def _send_now(row: Delivery, *, actor: str) -> ActionResult:
    return _what_comes(_("Send now: it is on its way."), send_now(row, actor=actor))


def _send_again(row: Delivery, *, actor: str) -> ActionResult:
    return _what_comes(_("Send again: it is on its way."), resend(row, actor=actor))


def _what_comes(on_its_way: Any, row: Delivery) -> ActionResult:
    """Return the message after a resend. It does not promise an immediate request if the delivery waits for something.

    An engine may have sent the delivery already.
    """
    outlook = _state_of(row).outlook
    if outlook is None or outlook.kind in NOW:
        return ActionResult(str(on_its_way))
    return ActionResult(next_in_words(outlook), messages.WARNING)


ROW_ACTIONS = (
    RowAction(
        "retry",
        _("Send now"),
        _("Does not wait for the next retry. Its schedule goes on from where it is."),
        "retry_delivery",
        _send_now,
        confirms=False,
        fits=lambda row: row.status == DeliveryStatus.PENDING,
    ),
    RowAction(
        "replay",
        _("Send again"),
        _(
            "The same event goes to the same endpoint once more, with the same id: a receiver that keeps ids knows it again."
        ),
        "replay_delivery",
        _send_again,
        fits=lambda row: row.status != DeliveryStatus.PENDING,
    ),
    RowAction(
        "cancel",
        _("Cancel"),
        _("It is not sent any more. A request that has started still finishes."),
        "cancel_delivery",
        cancel_delivery,
        dangerous=True,
        fits=lambda row: row.status == DeliveryStatus.PENDING,
    ),
)


@admin.register(Delivery)
class DeliveryAdmin(RowActionsMixin, LargeTableAdmin):
    prefix = "dlv"
    shows_payload = True
    row_actions = ROW_ACTIONS
    finds = deliveries_like
    search_fields = ("id",)
    search_help_text = _(
        "dlv_…, evt_…, wh_… or a bare id; your own id of the event (its subject); a part of a URL; a tenant. The newest 200."
    )
    narrowed_by = ("tenant", "endpoint", "event")
    list_filter = (TimeFilter, StatusFilter)
    list_display = (
        "made_shortly", "shown_status", "of_tenant", "named_endpoint", "event_type", "subject", "tries", "last_answer",
    )  # fmt: skip
    list_display_links = ("made_shortly",)
    fieldsets = (
        (None, {"fields": ("shown_id", "shown_status", "of_event", "subject", "of_endpoint", "of_tenant")}),
        (_("Times"), {"fields": ("requests", "last", "made", "next_attempt", "completed", "expires", "sequence")}),
    )
    fetched = ("tenant",)
    completed = time_column(_("finished"), "completed_at")
    expires = time_column(_("waits at most until"), "expires_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        events = Prefetch("event", Event.objects.defer("data"))
        endpoints = Prefetch(
            "endpoint", Endpoint.objects.defer("headers", "authentication", "client_tls", "metadata", "filters")
        )
        return super().get_queryset(request).prefetch_related(events).prefetch_related(endpoints)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        words, may_look = request.GET.get(SEARCH_VAR, ""), self.may(request, "view_event")
        events_url = list_of(Event, q=words) if words and may_look else ""
        return super().changelist_view(request, {"events_url": events_url, **(extra_context or {})})

    def page_context(self, request: HttpRequest, row: Delivery) -> dict[str, Any]:
        """Return the context with the explanation and the requests of the delivery."""
        attempts = Attempt.objects.filter(delivery_id=row.pk).order_by("-pk")[: _ATTEMPTS_SHOWN + 1]
        listed, with_payload = list(attempts), may_see_payloads(request)
        return {
            **super().page_context(request, row),
            "answer": answer_for(row, _state_of(row)),
            "attempts": [shown_attempt(one, with_payload) for one in listed[:_ATTEMPTS_SHOWN]],
            "answers_hidden": "" if with_payload else hidden(),
            "older_attempts": list_of(Attempt, delivery=row.pk) if len(listed) > _ATTEMPTS_SHOWN else "",
        }

    @admin.display(description=_("status"))
    def shown_status(self, row: Delivery) -> SafeString:
        event = related(row, "event")
        return state(row.status, is_test=event is not None and event.is_test)

    @admin.display(description=_("event type"))
    def event_type(self, row: Delivery) -> str:
        event = related(row, "event")
        return breakable(event.type) if event else "–"

    @admin.display(description=_("your id"))
    def subject(self, row: Delivery) -> str:
        event = related(row, "event")
        return (event and event.subject) or "–"

    @admin.display(description=_("event"))
    def of_event(self, row: Delivery) -> SafeString | str:
        event = related(row, "event")
        return link(event, event and str(event))

    @admin.display(description=_("endpoint"))
    def named_endpoint(self, row: Delivery) -> SafeString | str:
        return endpoint_link(related(row, "endpoint"), MOST_OF_URL)

    @admin.display(description=_("requests"))
    def requests(self, row: Delivery) -> str:
        return f"{row.attempts}" + (f" (HTTP {row.last_status})" if row.last_status else "")

    @admin.display(description=pgettext_lazy("requests", "tries"))
    def tries(self, row: Delivery) -> int:
        return row.attempts

    @admin.display(description=_("last answer"))
    def last_answer(self, row: Delivery) -> str:
        return str(row.last_status or outcome_name(row.last_outcome) or "–")

    @admin.display(description=_("last request"))
    def last(self, row: Delivery) -> str:
        return outcome_in_words(row.last_outcome, row.last_status) if row.last_outcome else "–"

    @admin.display(description=_("next request"))
    def next_attempt(self, row: Delivery) -> SafeString | str:
        outlook = outlook_of(row, related(row, "endpoint"), _queue(row), database_now())
        return time(outlook.at if outlook else None)


def _queue(row: Delivery) -> EndpointQueue | None:
    return EndpointQueue.objects.filter(pk=row.endpoint_id).first()


def _state_of(row: Delivery) -> DeliveryState:
    return state_of(row, related(row, "endpoint"), _queue(row), database_now())
