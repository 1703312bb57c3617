"""The catalogue of event types: those declared in code, and those added by staff."""

from __future__ import annotations

import json

from webhooks_app.core.catalogue import EventType, registry
from webhooks_app.core.schema_check import InvalidSchema, check_schema
from webhooks_app.events.payload import added_types, check_example
from webhooks_app.exceptions import ConfigurationError, InvalidEvent, InvalidEventType, NotFound
from webhooks_app.models import EventType as EventTypeRow
from webhooks_app.wire_formats.base import WireFormat


def event_types() -> list[EventType]:
    """Return all event types by name. A type declared in code takes precedence over one that staff added under the same name."""
    rows = EventTypeRow.objects.all()
    types = {type_.name: type_ for type_ in (*(row.as_declared() for row in rows), *registry)}
    return [types[name] for name in sorted(types)]


def event_type(name: str) -> EventType:
    """Return the type with this name. Raises NotFound."""
    found = registry.get(name) or added_types([name]).get(name)
    if found is None:
        raise NotFound()
    return found


def offered_types(*wire_formats: WireFormat) -> list[EventType]:
    """Return the types that an endpoint of these wire formats may newly subscribe to, by name.

    These are the types of the catalogue that are not retired, and those that the wire formats' products document.
    """
    documented = {type_.name: type_ for wire_format in wire_formats for type_ in wire_format.event_types}
    types = {**documented, **{type_.name: type_ for type_ in event_types()}}
    return [types[name] for name in sorted(types) if name in documented or not types[name].retired]


def save_event_type(row: EventTypeRow) -> EventTypeRow:
    """Add or update a type that staff manage. Raises InvalidEventType if it could never be used."""
    if row.name in registry:
        raise InvalidEventType(
            "A type of this name is declared in code; that one counts. Change it there.", field="name"
        )
    try:
        declared = row.as_declared()
    except ConfigurationError as error:
        raise InvalidEventType(str(error), field="name") from error
    _check_schema(declared)
    row.save()
    return row


def _check_schema(type_: EventType) -> None:
    if type_.schema is None:
        return
    if not isinstance(type_.schema, dict):
        raise InvalidEventType("The schema is a JSON object.", field="schema")
    try:
        check_schema(json.dumps(type_.schema, sort_keys=True))
    except InvalidSchema as error:
        raise InvalidEventType(f"This is no JSON Schema that can be used. {error}", field="schema") from error
    try:
        if type_.example is not None:
            check_example(type_)
    except InvalidEvent as error:
        field = "example" if error.field == "data" else "schema"
        raise InvalidEventType(str(error), field=field) from error
