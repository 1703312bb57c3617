"""Quarantine: an event that is itself at fault is put aside, with the reason; any other that cannot be fanned out is held."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

from django.db import DatabaseError, DataError, IntegrityError, InternalError

from webhooks_app import signals, telemetry
from webhooks_app.db import in_fresh_transaction, is_outage, lacks_a_value, sql_state
from webhooks_app.engine.faults import FaultLog
from webhooks_app.engine.matching import InvalidEventData
from webhooks_app.engine.options import EngineOptions
from webhooks_app.engine.pauses import Pauses
from webhooks_app.engine.types import FannedOut
from webhooks_app.exceptions import URLNotAllowed
from webhooks_app.log_thread import engine_logger
from webhooks_app.models import Event
from webhooks_app.telemetry.logs import log_ids

logger = engine_logger(__name__)

#: Errors that are an event's own fault: its data, its URL, or what the database or a trigger in it says of its rows.
_EVENTS_FAULT = (DataError, IntegrityError, InternalError, InvalidEventData, URLNotAllowed)
_EVENTS_FAULT_STATES = ("22", "23", "P0")


class Quarantine:
    """Used by one fan-out."""

    def __init__(
        self,
        using: str,
        options: EngineOptions,
        faults: FaultLog,
        held: Pauses,
        send_signal: Callable[[Callable[[], object]], object],
    ) -> None:
        """`held`: the events that are left alone for a while. `send_signal`: see `FanOut`."""
        self._using = using
        self._options = options
        self._faults = faults
        self._held = held
        self._send_signal = send_signal

    def put_aside(self, event: Event, error: Exception, now: datetime) -> FannedOut:
        """Quarantine the event; or hold it for a while, where something else is to blame or its row cannot be changed."""
        if not _is_events_fault(error):
            self._held.put(event.id)
            self._faults.report(
                f"event {event.id}",
                "event %s cannot be fanned out and is tried again",
                event.public_id,
                error=error,
                ids=log_ids(event=event.id, tenant=event.tenant_id),
            )
            return FannedOut()
        cause = error.__cause__ if isinstance(error, InvalidEventData) and error.__cause__ else error
        reason = f"fan-out failed: {type(cause).__name__}: {cause}"[:2000]
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
            self._held.put(event.id)
            self._faults.report(
                f"event {event.id}", "event %s cannot be quarantined", event.public_id, error=refused, ids=ids
            )
            return FannedOut()
        logger.error("webhooks: event %s was quarantined: %s", event.public_id, reason, extra=ids)
        telemetry.count("events_quarantined")
        about = {"event_id": event.id, "tenant_id": event.tenant_id, "reason": reason}
        self._send_signal(partial(signals.event_quarantined.send_robust, sender=Event, **about))
        return FannedOut(events=1)


def _is_events_fault(error: Exception) -> bool:
    if lacks_a_value(error):  # never an event's fault: the database is ahead of this version
        return False
    state = sql_state(error)
    if isinstance(error, _EVENTS_FAULT):
        return True
    return isinstance(error, DatabaseError) and state is not None and state.startswith(_EVENTS_FAULT_STATES)
