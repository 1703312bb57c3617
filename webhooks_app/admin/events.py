"""Events, their types and their channels."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from webhooks_app.admin.base import LargeTableAdmin, field_label, related, time_column
from webhooks_app.admin.filters import EventStateFilter, LabelledFilter, TimeFilter
from webhooks_app.admin.links import endpoint_link, id_link, link, list_of, short_time
from webhooks_app.admin.payloads import hidden, may_see_payloads, shown_erased, shown_json
from webhooks_app.admin.row_actions import ActionResult, RowAction, RowActionsMixin
from webhooks_app.admin.search import events_like
from webhooks_app.admin.service_admin import ServiceAdmin, ServiceForm, StrictJSON
from webhooks_app.admin.states import state as coloured
from webhooks_app.core.catalogue import registry
from webhooks_app.deliveries.erase import erase_event
from webhooks_app.deliveries.outlook import waiting_in_words, waiting_of
from webhooks_app.deliveries.resend import resend_event
from webhooks_app.events.quarantine import release_quarantined
from webhooks_app.events.types import save_event_type
from webhooks_app.models import Delivery, Endpoint, Event, EventChannel, EventType, database_now
from webhooks_app.templatetags.webhooks import breakable

_DELIVERIES_SHOWN = 100
_WIDE = forms.Textarea(attrs={"rows": 8, "class": "vLargeTextField"})


def _replay(row: Event, *, actor: str) -> ActionResult:
    count = resend_event(row, actor=actor)
    waiting = waiting_in_words(waiting_of(Delivery.objects.filter(event_id=row.pk), database_now()))
    text = ngettext("%(count)s delivery is sent again.", "%(count)s deliveries are sent again.", count)
    if waiting:
        text = ngettext("%(count)s delivery is to be sent again.", "%(count)s deliveries are to be sent again.", count)
    return ActionResult(" ".join(filter(None, [text % {"count": count}, waiting])))


def _release(row: Event, *, actor: str) -> ActionResult:
    if release_quarantined(row, actor=actor):
        return ActionResult(gettext("The event is pending again, and is delivered soon."))
    return ActionResult(gettext("The event is not quarantined."))


def _erase(row: Event, *, actor: str) -> ActionResult:
    erase_event(row, actor=actor)
    return ActionResult(gettext("The event was erased."))


@admin.register(Event)
class EventAdmin(RowActionsMixin, LargeTableAdmin):
    prefix = "evt"
    shows_payload = True
    row_actions = (
        RowAction(
            "replay",
            _("Send again"),
            _(
                "Goes once more to every endpoint that it went to, with the same id. What is on its way already is not doubled."
            ),
            "replay_event",
            _replay,
            fits=lambda row: not row.quarantine_reason and row.erased_at is None,
        ),
        RowAction(
            "release",
            _("Release event"),
            _(
                "Delivers a quarantined event after all, to the endpoints that want it. Correct the mistake first: if the "
                "fan-out fails again, the event is quarantined again."
            ),
            "replay_event",
            _release,
            fits=lambda row: row.is_releasable,
        ),
        RowAction(
            "erase",
            _("Erase event"),
            _(
                "Erases the data of the event, what receivers responded, the customer's id, the channels, the idempotency key "
                "and the callback URL. Pending deliveries are cancelled, and the event cannot be sent again. The deliveries and "
                "their outcomes stay. This cannot be undone."
            ),
            "erase_event",
            _erase,
            dangerous=True,
            fits=lambda row: row.is_erasable,
        ),
    )
    finds = events_like
    search_fields = ("id",)
    search_help_text = _("evt_…, dlv_… or a bare id; your own id (the subject), exactly; a tenant. The newest 200.")
    narrowed_by = ("tenant",)
    list_filter = (TimeFilter, EventStateFilter)
    list_display = (
        "made_shortly", "state", "tenant_uid", "event_type", "subject", "shown_id",
    )  # fmt: skip
    list_display_links = ("made_shortly",)
    _names = ("shown_id", "type", "of_tenant", "subject", "shown_channels", "idempotency_key", "callback_url")
    _times = ("state", "occurred", "made", "made_deliveries", "erased")
    fieldsets = (
        (None, {"fields": _names}),
        (_("Times"), {"fields": _times}),
        (_("Data"), {"fields": ("size", "because", "data_shown")}),
    )

    fetched = ("tenant",)  # its row exists only from the first fan-out on
    deferred = ("data",)
    occurred = time_column(_("happened"), "occurred_at")
    made = time_column(_("emitted"), "created_at")
    made_shortly = time_column(_("emitted"), "created_at", short_time)
    made_deliveries = time_column(_("deliveries created"), "fanned_out_at")
    erased = time_column(_("erased"), "erased_at")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if may_see_payloads(request):
            return self.fieldsets
        return (*self.fieldsets[:-1], (_("Data"), {"fields": ("size", "data_hidden")}))

    def page_context(self, request: HttpRequest, row: Event) -> dict[str, Any]:
        return {**super().page_context(request, row), **_deliveries_of(row)}

    @admin.display(description=_("tenant"))
    def of_tenant(self, row: Event) -> SafeString | str:
        return link(related(row, "tenant")) if related(row, "tenant") else row.tenant_uid

    @admin.display(description=_("channels"))
    def shown_channels(self, row: Event) -> str:
        return ", ".join(row.channels) or "–"

    @admin.display(description=_("state"))
    def state(self, row: Event) -> SafeString:
        if row.quarantine_reason:
            kind, words = "exhausted", _("quarantined")
        elif row.fanned_out_at is None:
            kind, words = "pending", _("without deliveries yet")
        else:
            kind, words = "succeeded", _("deliveries created")
        return coloured(kind, words, is_test=row.is_test)

    @admin.display(description=field_label(Event, "type"))
    def event_type(self, row: Event) -> SafeString:
        return breakable(row.type)

    @admin.display(description=_("quarantined because"))
    def because(self, row: Event) -> str:
        return row.quarantine_reason or "–"  # it may quote the data

    @admin.display(description=_("data"))
    def data_shown(self, row: Event) -> SafeString:
        return shown_erased(row) if row.erased_at else shown_json(row.shown_data)

    @admin.display(description=_("data"))
    def data_hidden(self, row: Event) -> SafeString:
        return hidden()


def _deliveries_of(row: Event) -> dict[str, Any]:
    endpoints = Prefetch(
        "endpoint", Endpoint.objects.defer("headers", "authentication", "client_tls", "metadata", "filters")
    )
    rows = Delivery.objects.filter(event_id=row.pk).prefetch_related(endpoints).order_by("-pk")
    listed = list(rows[: _DELIVERIES_SHOWN + 1])
    shown = [
        {
            "row": one,
            "link": id_link(one),
            "state": coloured(one.status),
            "endpoint": endpoint_link(related(one, "endpoint")),
        }
        for one in listed
    ]
    more = list_of(Delivery, event=row.pk) if len(listed) > _DELIVERIES_SHOWN else ""
    return {"deliveries": shown[:_DELIVERIES_SHOWN], "more_deliveries": more}


class EventTypeForm(ServiceForm):
    example = StrictJSON(
        required=False,
        widget=_WIDE,
        help_text=_("JSON: what the data of such an event looks like."),
    )
    schema = StrictJSON(required=False, widget=_WIDE)

    class Meta:
        model = EventType
        fields = (
            "name", "group", "description", "example", "schema", "retired", "retention_days", "drop_body_when_delivered",
        )  # fmt: skip


@admin.register(EventType)
class EventTypeAdmin(ServiceAdmin):
    """Event types that staff added. Types declared in code are not listed here."""

    form = EventTypeForm
    list_display = ("name", "group", "description", "retired")
    list_filter = (("retired", LabelledFilter),)
    search_fields = ("name", "group", "description")
    ordering = ("name",)
    readonly_fields = ("name",)  # endpoints subscribe to it by its name

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return super().changelist_view(request, {"declared": len(registry), **(extra_context or {})})

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        save_event_type(obj)


@admin.register(EventChannel)
class EventChannelAdmin(LargeTableAdmin):
    list_display = ("channel", "of_event")
    fields = ("channel", "of_event")
    narrowed_by = ("event",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        events = Prefetch("event", Event.objects.defer("data"))
        return super().get_queryset(request).prefetch_related(events)

    @admin.display(description=_("event"))
    def of_event(self, row: EventChannel) -> SafeString | str:
        return id_link(related(row, "event"))
