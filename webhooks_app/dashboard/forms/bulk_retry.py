"""The progress of a bulk retry, carried from part to part in hidden fields: the server stores none of it."""

from __future__ import annotations

import uuid
from datetime import datetime

from django import forms

from webhooks_app.dashboard.forms.delivery_log import reckonable
from webhooks_app.deliveries.outlook import NONE_WAITS, Waiting

#: A larger number was not written by the app.
_MOST = 10**12


class ProgressForm(forms.Form):
    """`asked_at`: later failures are not retried. `position`: the last delivery handled. `total`: the number of deliveries,
    if known."""

    asked_at = forms.DateTimeField()
    position = forms.UUIDField(required=False)
    so_far = forms.IntegerField(min_value=0, max_value=_MOST)
    total = forms.IntegerField(required=False, min_value=0, max_value=_MOST)
    #: How many of them wait for a disabled or paused endpoint (`off`), or for one that is held back (`held`).
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
        """Return the fields of the next form, by name."""
        given = {"asked_at": asked_at.isoformat(), "position": position, "so_far": so_far, "total": total}
        given |= {"off": waiting.off, "held": waiting.held}
        return {name: str(value) for name, value in given.items() if value is not None}
