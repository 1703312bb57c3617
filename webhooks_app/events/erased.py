"""Refuse to send erased events."""

from __future__ import annotations

from webhooks_app.exceptions import ConflictingState, gettext_noop
from webhooks_app.models import Event


def refuse_erased(event: Event | None) -> None:
    """Raise ConflictingState if the event is erased: there is nothing left to send. None: its row is gone."""
    if event is not None and event.erased_at is not None:
        raise ConflictingState(gettext_noop("This event was erased, so it cannot be sent. Emit a new event."))
