"""The filters of the delivery log, as they appear in the URL."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.forms.renderers import BaseRenderer
from django.forms.utils import flatatt
from django.http import QueryDict
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from webhooks_app.dashboard.access import Visitor
from webhooks_app.deliveries.log import LogFilter
from webhooks_app.endpoints.queries import name_of
from webhooks_app.events.types import event_types
from webhooks_app.models import DeliveryStatus, Endpoint
from webhooks_app.models.ids import parse_public_id, public_id
from webhooks_app.models.times import FIRST_YEAR, LAST_YEAR
from webhooks_app.templatetags.webhooks import state_name

#: The most endpoints in the list; the log of any other one can be opened from its own page.
MOST_OFFERED = 200
_FORMAT = "%Y-%m-%dT%H:%M"


class LongSelect(forms.Select):
    """A select for long lists of plain choices, rendered at once: Django renders a template for each option."""

    def render(
        self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: BaseRenderer | None = None
    ) -> SafeString:
        chosen = "" if value is None else str(value)
        options = format_html_join(
            "",
            '<option value="{}"{}>{}</option>',
            ((key, SafeString(" selected") if key == chosen else "", label) for key, label in self.choices),
        )
        return format_html(
            "<select{}>{}</select>", flatatt({**self.build_attrs(self.attrs, attrs), "name": name}), options
        )


class LogForm(forms.Form):
    """The filter form; all fields are optional. `wanted`: the filter of a valid form."""

    endpoint = forms.CharField(label=_("Endpoint"), required=False, max_length=64, widget=LongSelect)
    type = forms.CharField(label=_("Event type"), required=False, max_length=128, widget=LongSelect)
    status = forms.ChoiceField(
        label=_("Status"),
        required=False,
        widget=LongSelect,
        error_messages={"invalid_choice": _("There is no such status.")},
    )
    channel = forms.CharField(label=_("Channel"), required=False, max_length=128)
    since = forms.DateTimeField(
        label=_("From"), required=False, widget=forms.DateTimeInput({"type": "datetime-local"}, format=_FORMAT)
    )
    until = forms.DateTimeField(
        label=_("Until"), required=False, widget=forms.DateTimeInput({"type": "datetime-local"}, format=_FORMAT)
    )

    def __init__(self, data: QueryDict, visitor: Visitor) -> None:
        super().__init__(data, auto_id="filter_%s")
        self._rows = Endpoint.objects.filter(tenant=visitor.tenant)
        self._endpoint: Endpoint | None = None
        any_one = ("", _("any"))
        states = [(state.value, state_name(state.value)) for state in DeliveryStatus]
        self.fields["status"].choices = [any_one, *states]  # type: ignore[attr-defined]
        offered = self._rows.visible().order_by("-pk").only("kind", "url", "description")[:MOST_OFFERED]
        endpoints = {one.public_id: _name(one) for one in offered}
        if (chosen := data.get("endpoint", "")) and chosen not in endpoints and (key := parse_public_id(chosen, "wh")):
            # Opened from the endpoint's own page: it may be deleted, belong to a callback URL, or be missing from the newest.
            endpoints.update({public_id("wh", one.pk): _name(one) for one in self._rows.filter(pk=key)})
        types = dict.fromkeys([*(one.name for one in event_types()), data.get("type") or ""])
        self._offer("endpoint", [any_one, *endpoints.items()])
        self._offer("type", [any_one, *((name, name) for name in types if name)])

    def _offer(self, field: str, choices: list[Any]) -> None:
        widget = self.fields[field].widget
        assert isinstance(widget, LongSelect)
        widget.choices = choices

    def clean_endpoint(self) -> str:
        text: str = self.cleaned_data["endpoint"]
        key = parse_public_id(text, "wh") if text else None
        if text:
            self._endpoint = self._rows.filter(pk=key).first() if key else None
            if self._endpoint is None:
                raise forms.ValidationError(_("There is no such endpoint."))
        return text

    def clean_since(self) -> datetime | None:
        return in_known_years(self.cleaned_data["since"])

    def clean_until(self) -> datetime | None:
        return in_known_years(self.cleaned_data["until"])

    @property
    def wanted(self) -> LogFilter:
        given = self.cleaned_data
        return LogFilter(
            endpoint_id=self._endpoint.pk if self._endpoint else None,
            type=given["type"],
            status=given["status"],
            channel=given["channel"],
            since=given["since"],
            until=given["until"],
        )

    @property
    def given(self) -> dict[str, str]:
        """Return the filled-in fields as they appear in the URL."""
        return {name: self.data[name] for name in self.fields if self.cleaned_data.get(name)}

    @property
    def query(self) -> str:
        """Return `status=exhausted&…`, for links that keep the filters."""
        return urlencode(self.given)

    def active(self) -> list[dict[str, Any]]:
        """Return the active filters: the text of each, and the query without it."""
        shown: dict[str, Any] = dict(self.cleaned_data)
        if self._endpoint is not None:
            shown["endpoint"] = name_of(self._endpoint)
        shown["status"] = state_name(shown["status"])
        return [
            {
                "name": name,
                "label": self.fields[name].label,
                "value": shown[name],
                "is_time": isinstance(shown[name], datetime),
                "without": urlencode({other: text for other, text in self.given.items() if other != name}),
            }
            for name in self.given
        ]


def _name(endpoint: Endpoint) -> str:
    name = name_of(endpoint)
    return f"{name} – {endpoint.description}" if endpoint.description and not endpoint.is_playground else name


def in_known_years(moment: datetime | None) -> datetime | None:
    """Return the time if calculations with it are safe. Raises ValidationError."""
    if moment is not None and not FIRST_YEAR <= moment.year <= LAST_YEAR:
        years = {"first": FIRST_YEAR, "last": LAST_YEAR}
        raise forms.ValidationError(_("Enter a year between %(first)s and %(last)s.") % years)
    return moment
