"""The catalogue of event types: those declared in code, and those that staff added."""

from __future__ import annotations

from webhooks_app.core.catalogue import EventType, registry
from webhooks_app.models import EventType as EventTypeRow


def event_types(*, using: str) -> list[EventType]:
    """All of them by name; a type declared in code goes before one of the same name that staff added."""
    rows = EventTypeRow.objects.using(using).all()
    types = {type_.name: type_ for type_ in (*(row.as_declared() for row in rows), *registry)}
    return [types[name] for name in sorted(types)]
