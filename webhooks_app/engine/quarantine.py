"""Quarantine: put aside events that are themselves at fault, with the reason; hold others that cannot be fanned out.

If the database refuses an event, the event may be wrong, or a trigger or constraint of the host's may refuse every event for
a moment. Such an event is held, too, and quarantined only after it has failed alone, repeatedly, for a while.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from functools import partial

from django.db import DatabaseError, DataError, IntegrityError, InternalError

from webhooks_app import signals, telemetry
from webhooks_app.database_errors import is_outage, lacks_a_value, sql_state
from webhooks_app.db import in_fresh_transaction
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.held_events import HeldEvents, refusals
from webhooks_app.engine.matching import InvalidEventData
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.types import FannedOut, PendingEvent
from webhooks_app.exceptions import URLNotAllowed
from webhooks_app.log_thread import engine_logger
from webhooks_app.models import Event
from webhooks_app.models.event import FAN_OUT_FAILED
from webhooks_app.telemetry.logs import log_ids

logger = engine_logger(__name__)

#: Errors that are certainly caused by the event: its data, its callback URL.
_EVENTS_FAULT = (InvalidEventData, URLNotAllowed)
#: Errors that the event may have caused: the database, or a trigger in it, refuses its rows.
_REFUSALS = (DataError, IntegrityError, InternalError)
_REFUSAL_STATES = ("22", "23", "P0")


class Quarantine:
    """Used by one fan-out."""

    def __init__(
        self,
        using: str,
        options: EngineOptions,
        faults: FaultLog,
        held: HeldEvents,
        send_signal: Callable[[Callable[[], object]], object],
    ) -> None:
        """`send_signal`: see `FanOut`."""
        self._using = using
        self._options = options
        self._faults = faults
        self._held = held
        self._send_signal = send_signal

    def put_aside(self, event: PendingEvent, error: Exception, now: datetime, *, in_order: bool = False) -> FannedOut:
        """Quarantine an event that failed alone; or hold it, if something else is or may be the cause, or if its row cannot be
        changed. `in_order`: nothing of its tenant may overtake it."""
        if not self._is_to_blame(event, error):
            is_new = self._held.put(event, in_order=in_order)
            # One log entry for a tenant: if all of its events are refused, one for each would fill the log. An event that fails
            # again is no news.
            self._faults.report(
                f"fan-out {event.tenant_id} {type(error).__name__} {is_new}",
                "event %s cannot be fanned out and is tried again",
                event.public_id,
                error=error,
                level=logging.ERROR if is_new else logging.INFO,
                ids=log_ids(event=event.id, tenant=event.tenant_id),
            )
            return FannedOut()
        cause = error.__cause__ if isinstance(error, InvalidEventData) and error.__cause__ else error
        reason = f"{FAN_OUT_FAILED}{type(cause).__name__}: {cause}"[:2000]
        ids = log_ids(event=event.id, tenant=event.tenant_id)
        pending = Event.objects.using(self._using).pending().filter(id=event.id)
        try:
            in_fresh_transaction(
                lambda: pending.update(fanned_out_at=now, quarantine_reason=reason),
                self._using,
                relaxed=True,
                lock_timeout=self._options.lock_timeout,
            )
        except Exception as refused:
            if is_outage(refused):
                raise
            self._held.put(event, in_order=in_order)
            self._faults.report(
                f"event {event.id}", "event %s cannot be quarantined", event.public_id, error=refused, ids=ids
            )
            return FannedOut()
        self._held.forget([event.id])
        refusals.forget(event.id)
        logger.error("webhooks: event %s was quarantined: %s", event.public_id, reason, extra=ids)
        telemetry.count("events_quarantined")
        about = {"event_id": event.id, "tenant_id": event.tenant_id, "reason": reason}
        self._send_signal(partial(signals.event_quarantined.send_robust, sender=Event, **about))
        return FannedOut(events=1)

    def _is_to_blame(self, event: PendingEvent, error: Exception) -> bool:
        if isinstance(error, _EVENTS_FAULT):
            return True
        return _is_refusal(error) and refusals.seconds(event.id) >= self._options.quarantine_after


def _is_refusal(error: Exception) -> bool:
    """Return whether the database refuses the event's rows, so that the event may be at fault."""
    if lacks_a_value(error):  # never an event's fault: the database is ahead of this version
        return False
    if isinstance(error, _REFUSALS):
        return True
    state = sql_state(error)
    return isinstance(error, DatabaseError) and state is not None and state.startswith(_REFUSAL_STATES)
