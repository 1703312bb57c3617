"""The catalogue of event types: those declared in code, and those that staff added."""

from __future__ import annotations

from webhooks_app.core.catalogue import EventType, registry
from webhooks_app.models import EventType as EventTypeRow


def event_types(*, using: str) -> list[EventType]:
    """All of them by name; a type declared in code goes before one of the same name that staff added."""
    rows = EventTypeRow.objects.using(using).all()
    added = [EventType(row.name, row.description, row.example, row.schema, row.group, row.retired) for row in rows]
    types = {type_.name: type_ for type_ in (*added, *registry)}
    return [types[name] for name in sorted(types)]
