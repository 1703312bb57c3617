"""The playground's forms: its response, its events, and the test event to send."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from webhooks_app.core.catalogue import EventType
from webhooks_app.core.filters import EVERYTHING
from webhooks_app.core.playground import DEFAULT_RESPONSE, PLAYGROUND_RESPONSES, response_of
from webhooks_app.core.retry import RuleEffect, outcome_of_status
from webhooks_app.forms.fields import JSONText, example_text
from webhooks_app.models import Endpoint, EndpointStatus
from webhooks_app.wire_formats import get_wire_format


class ResponseForm(forms.Form):
    """How the playground responds from now on."""

    answer = forms.ChoiceField(label=_("How the receiver answers"), widget=forms.RadioSelect)

    def __init__(self, data: Any = None, *, endpoint: Endpoint) -> None:
        now = response_of(endpoint.url)
        is_off = endpoint.status == EndpointStatus.DISABLED
        chosen = now.name if now and not is_off else DEFAULT_RESPONSE  # the response that disabled it would do so again
        super().__init__(data, initial={"answer": chosen}, auto_id="answer-%s")
        texts = response_texts(endpoint)
        self.fields["answer"].choices = [(name, texts[name]) for name in PLAYGROUND_RESPONSES]  # type: ignore[attr-defined]


class EventsForm(forms.Form):
    """Which events the playground gets; `values` returns the patterns."""

    events = forms.MultipleChoiceField(label=_("Events that arrive here"), widget=forms.CheckboxSelectMultiple)

    def __init__(self, data: Any = None, *, types: Iterable[EventType], chosen: Sequence[str]) -> None:
        super().__init__(data, initial={"events": list(chosen)}, auto_id="events-%s")
        names = dict.fromkeys([*chosen, *(type_.name for type_ in types if not type_.retired)])
        names.pop(EVERYTHING, None)
        self.fields["events"].choices = [  # type: ignore[attr-defined]  # a choice field's
            (EVERYTHING, gettext("All events, including those of future types")),
            *((name, name) for name in names),
        ]

    def values(self) -> list[str]:
        chosen = self.cleaned_data["events"]
        return [EVERYTHING] if EVERYTHING in chosen else chosen


class SendForm(forms.Form):
    """A test event. `chosen`: the type whose example is shown; by default the first with an example."""

    type = forms.CharField(widget=forms.HiddenInput)
    data = JSONText(  # type: ignore[assignment]  # a field's name, and a form's own
        label=_("Data (JSON)"), help_text=_("The type's example. Change it as you like."), required=True
    )

    def __init__(self, data: Any = None, *, types: Sequence[EventType], chosen: str = "") -> None:
        by_name = {type_.name: type_ for type_ in types}
        with_example = (type_ for type_ in types if type_.example is not None)
        shown = by_name.get(chosen) or next(with_example, None) or next(iter(types), None)
        #: The type's name, empty if there are no types.
        self.chosen = shown.name if shown else ""
        initial = {"type": self.chosen, "data": example_text(shown) if shown else ""}
        super().__init__(data, initial=initial, auto_id="send-%s")
        self.fields["data"].widget.attrs["rows"] = 9


def response_texts(endpoint: Endpoint) -> dict[str, str]:
    """Return what each response is, and its effect on a delivery in this endpoint's wire format."""
    wire = get_wire_format(endpoint.wire_format)
    disables = wire.retry.rule_for(outcome_of_status(410), RuleEffect.DISABLE)
    gone = gettext("410 Gone: the endpoint is switched off") if disables else gettext("410 Gone")
    seconds = {"seconds": PLAYGROUND_RESPONSES["429"].retry_after}
    return {
        "200": gettext("200 OK: accepted"),
        "204": gettext("204 No Content: accepted"),
        "400": gettext("400 Bad Request: sent again later"),
        "410": gone,
        "429": gettext("429 Too Many Requests: “come back in %(seconds)d seconds”") % seconds,
        "500": gettext("500 Internal Server Error: sent again later"),
        "timeout": gettext("No answer: given up after %(seconds)g seconds, sent again later")
        % {"seconds": wire.total_timeout},
    }
