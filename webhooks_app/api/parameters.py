"""Descriptions of the API's parameters, and the query parameters that several operations share."""

from __future__ import annotations

from drf_spectacular.utils import OpenApiParameter

CHANNEL = "A channel is a name of your own, for example of a project."
SUBJECT = "Your own ID of the event, to find it again; may be empty."
#: By the prefix of an ID, what it identifies.
NOUNS = {"wh": "webhook", "evt": "event", "dlv": "delivery", "att": "attempt"}


def id_text(prefix: str) -> str:
    """Return the description of an ID in a path or a response."""
    return f"The ID of the {NOUNS[prefix]}, such as `{prefix}_0197…`."


def query(name: str, text: str, **options: object) -> OpenApiParameter:
    """Return an optional query parameter whose value is a string."""
    return OpenApiParameter(name, type=str, description=text, **options)  # type: ignore[arg-type]


def of_event(what: str) -> list[OpenApiParameter]:
    """Return the parameters `type` and `channel` for `what`, such as "deliveries"."""
    return [query("type", f"Only {what} of this type of event."), query("channel", f"Only {what} of this channel.")]


def period(what: str) -> list[OpenApiParameter]:
    """Return the parameters `since` and `until` for `what`, such as "events published"."""
    zone = "Include the time zone, as in `2026-04-01T10:00:05Z`."
    return [
        query("since", f"Only {what} at this time or later. {zone}"),
        query("until", f"Only {what} before this time. {zone}"),
    ]
