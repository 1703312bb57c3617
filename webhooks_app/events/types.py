"""The catalogue of event types: those declared in code, and those that staff added."""

from __future__ import annotations

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from webhooks_app.core.catalogue import EventType, registry
from webhooks_app.events.payload import added_types, check_example
from webhooks_app.exceptions import ConfigurationError, InvalidEvent, InvalidEventType, NotFound
from webhooks_app.models import EventType as EventTypeRow
from webhooks_app.wire_formats.base import WireFormat


def event_types() -> list[EventType]:
    """All of them by name; a type declared in code goes before one of the same name that staff added."""
    rows = EventTypeRow.objects.all()
    types = {type_.name: type_ for type_ in (*(row.as_declared() for row in rows), *registry)}
    return [types[name] for name in sorted(types)]


def event_type(name: str) -> EventType:
    """The type of this name. Raises NotFound."""
    found = registry.get(name) or added_types([name]).get(name)
    if found is None:
        raise NotFound()
    return found


def offered_types(*wire_formats: WireFormat) -> list[EventType]:
    """Those that an endpoint of these wire formats may newly subscribe to, by name: the catalogue without what is retired, and
    what the wire formats' products document."""
    documented = {type_.name: type_ for wire_format in wire_formats for type_ in wire_format.event_types}
    types = {**documented, **{type_.name: type_ for type_ in event_types()}}
    return [types[name] for name in sorted(types) if name in documented or not types[name].retired]


def save_event_type(row: EventTypeRow) -> EventTypeRow:
    """Put a type that staff added, or changed, into the catalogue. Raises InvalidEventType where it could never be used."""
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
        Draft202012Validator.check_schema(type_.schema)
    except SchemaError as error:
        raise InvalidEventType(f"This is no JSON Schema: {error.message[:300]}", field="schema") from error
    try:
        if type_.example is not None:
            check_example(type_)
    except InvalidEvent as error:
        field = "example" if error.field == "data" else "schema"
        raise InvalidEventType(str(error), field=field) from error
