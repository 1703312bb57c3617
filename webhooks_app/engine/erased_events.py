"""Erased events: responses to requests that were in flight while their event was erased are not stored."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence

from webhooks_app.engine.sql.types import AttemptRow
from webhooks_app.engine.types import Result
from webhooks_app.models import Attempt, Event
from webhooks_app.models.lookups import any_of, for_change


def forget_responses(
    results: Sequence[Result], attempts: Sequence[AttemptRow | None], settled: Collection[uuid.UUID], using: str
) -> None:
    """Erase the responses of these attempts, which were just inserted, if their events are erased. Needs their transaction.

    An erasure cancels the pending deliveries of its event, so the results that have settled their deliveries need no look: this
    costs a statement only if there are others. `settled`: the deliveries that have changed.
    """
    sent = [
        (result, row)
        for result, row in zip(results, attempts, strict=True)
        if row is not None and (result.decision is None or result.delivery.delivery_id not in settled)
    ]
    if not sent:
        return
    events = {result.delivery.event_id for result, _ in sent}
    kept = Event.objects.using(using).not_erased().filter(any_of("id", events)).order_by("id")
    # Locked, so that an erasure finds these attempts. What another transaction has locked may be just about to be erased.
    erased = events.difference(for_change(kept, skip_locked=True).values_list("id", flat=True))
    if concerned := [row.id for result, row in sent if result.delivery.event_id in erased]:
        rows = Attempt.objects.using(using).filter(any_of("id", concerned))
        rows.update(response_headers="", response_body=b"", detail="", url="", address="")
