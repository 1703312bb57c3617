"""How far a bulk retry is, carried from part to part in hidden fields: the server keeps nothing of it."""

from __future__ import annotations

import uuid
from datetime import datetime

from django import forms

from webhooks_app.dashboard.forms.delivery_log import reckonable
from webhooks_app.deliveries.outlook import NONE_WAITS, Waiting

#: A number beyond this was not written by us.
_MOST = 10**12


class ProgressForm(forms.Form):
    """`asked_at`: what fails later is not retried. `position`: the delivery that was come to last. `total`: how many there
    were, where that is known."""

    asked_at = forms.DateTimeField()
    position = forms.UUIDField(required=False)
    so_far = forms.IntegerField(min_value=0, max_value=_MOST)
    total = forms.IntegerField(required=False, min_value=0, max_value=_MOST)
    #: Of them, those that wait for an endpoint that is off, or held back.
    off = forms.IntegerField(required=False, min_value=0, max_value=_MOST)
    held = forms.IntegerField(required=False, min_value=0, max_value=_MOST)
    stop = forms.BooleanField(required=False)

    def clean_asked_at(self) -> datetime | None:
        return reckonable(self.cleaned_data["asked_at"])

    @property
    def waiting(self) -> Waiting:
        return Waiting(self.cleaned_data["off"] or 0, self.cleaned_data["held"] or 0)

    @classmethod
    def hidden(
        cls,
        *,
        asked_at: datetime,
        total: int | None,
        position: uuid.UUID | None = None,
        so_far: int = 0,
        waiting: Waiting = NONE_WAITS,
    ) -> dict[str, str]:
        """The fields of the next form, by name."""
        given = {"asked_at": asked_at.isoformat(), "position": position, "so_far": so_far, "total": total}
        given |= {"off": waiting.off, "held": waiting.held}
        return {name: str(value) for name, value in given.items() if value is not None}
