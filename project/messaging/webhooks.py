"""The event types of the sample app. Django finds this module at startup, like `admin.py`."""

from dataclasses import replace
from typing import Any

from webhooks_app import EventType, registry
from webhooks_app.wire_formats import get_wire_format, wire_format_names

_EXAMPLE: dict[str, Any] = {
    "message_id": 4711,
    "to": "+4915112345678",
    "text": "Your parcel is on its way.",
    "created_at": "2026-01-31T09:30:00Z",
}


def _schema(status: str, **more: Any) -> dict[str, Any]:
    """Return a JSON Schema for the data of one type: the common properties and its own.

    Further properties are allowed and none is required: the simulated products in `project/` emit types of these names with
    properties of their own.
    """
    properties = {
        "message_id": {"type": "integer"},
        "to": {"type": "string", "description": "The recipient's number, E.164."},
        "text": {"type": "string", "maxLength": 480},
        "status": {"const": status},
        "created_at": {"type": "string", "format": "date-time"},
        **more,
    }
    return {"type": "object", "properties": properties}


registry.register(
    EventType(
        "message.sent",
        description="A message was handed to the carrier.",
        example={**_EXAMPLE, "status": "sent"},
        schema=_schema("sent"),
        group="Messages",
    ),
    EventType(
        "message.delivered",
        description="The carrier confirmed that a message reached the recipient's phone.",
        example={**_EXAMPLE, "status": "delivered"},
        schema=_schema("delivered"),
        group="Messages",
    ),
    EventType(
        "message.failed",
        description="A message could not be delivered, and why.",
        example={**_EXAMPLE, "status": "failed", "error": "number_not_in_service"},
        schema=_schema("failed", error={"type": "string"}),
        group="Messages",
    ),
)

# Types documented by the products whose wire formats are enabled, unless the sample app or another product has defined the type
# already.
for _name in wire_format_names():
    for _type in get_wire_format(_name).event_types:
        if _type.name not in registry:
            registry.register(replace(_type, group=get_wire_format(_name).title))
