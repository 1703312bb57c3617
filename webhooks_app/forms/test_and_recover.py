"""The forms to send a test event, and to recover since a time."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from webhooks_app.conf import settings
from webhooks_app.core.catalogue import EventType
from webhooks_app.core.filters import matches
from webhooks_app.deliveries.test_event import EXAMPLE
from webhooks_app.forms.fields import JSONText, example_text
from webhooks_app.models.ids import parse_public_id

_MINUTES = "%Y-%m-%dT%H:%M"
#: Browsers without a date picker send the text that was entered.
_FORMATS = (_MINUTES, "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d")


class TestEventForm(forms.Form):
    """`chosen`: the type whose example is shown; by default, the first that matches one of the endpoint's patterns."""

    type = forms.ChoiceField(label=gettext_lazy("Event type"))
    data = JSONText(  # type: ignore[assignment]  # a field's name, and a form's own
        label=gettext_lazy("Data (JSON)"), help_text=gettext_lazy("Change it as you like.")
    )

    __test__ = False  # a form, whatever pytest makes of its name

    def __init__(
        self, data: Any = None, *, types: Sequence[EventType], chosen: str = "", patterns: Sequence[str] = ()
    ) -> None:
        by_name = {type_.name: type_ for type_ in types}
        wanted = [type_ for pattern in patterns for type_ in types if matches(pattern, type_.name)]
        offered = (type_ for type_ in (*wanted, *types) if not type_.retired)
        shown = by_name.get(chosen) or next(offered, None) or next(iter(types), None)
        initial = {"type": shown.name, "data": example_text(shown)} if shown else {}
        super().__init__(data, initial=initial, auto_id="test-%s")
        self.fields["type"].choices = [(name, name) for name in by_name]  # type: ignore[attr-defined]  # a ChoiceField's
        self.fields["data"].widget.attrs["rows"] = 9

    def clean_data(self) -> Any:
        return self.cleaned_data["data"] if (self["data"].value() or "").strip() else EXAMPLE


class RecoverForm(forms.Form):
    """`since` is entered in the reader's time zone and cleaned to an aware time, within the retention and not in the future."""

    since = forms.DateTimeField(
        label=gettext_lazy("Since"),
        input_formats=_FORMATS,
        widget=forms.DateTimeInput({"type": "datetime-local"}, format=_MINUTES),
    )

    #: The event after which a recovery that was not finished continues.
    after = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, data: Any = None) -> None:
        super().__init__(data, initial={"since": timezone.now() - timedelta(days=1)}, auto_id="recover-%s")
        self.fields["since"].help_text = _("In your time zone, %(zone)s. Events are kept for %(days)g days.") % {
            "zone": timezone.get_current_timezone_name(),
            "days": settings().RETENTION_DAYS,
        }

    def clean_since(self) -> datetime:
        since: datetime = self.cleaned_data["since"]
        now = timezone.now()
        if since > now:
            raise ValidationError(_("This time is still to come."), "future")
        # Older events are deleted anyway, and calculations with years like 0001 may overflow.
        return max(since, now - timedelta(days=settings().RETENTION_DAYS))

    def clean_after(self) -> uuid.UUID | None:
        text = self.cleaned_data["after"]
        position = parse_public_id(text, "evt")
        if text and position is None:
            raise ValidationError(_("Start the recovery again."), "position")
        return position

    def continue_after(self, position: str) -> None:
        """Let the submitted form continue the recovery when it is sent again: from this position, and since the same time."""
        self.data = {name: self.data[name] for name in self.data} | {"after": position}
        if position:
            self.fields["since"].widget.attrs["readonly"] = True
