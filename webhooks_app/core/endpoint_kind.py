"""The kinds of endpoints."""

from __future__ import annotations

from enum import StrEnum


class EndpointKind(StrEnum):
    #: A customer's endpoint, as it was made in the API or on the pages.
    URL = "url"
    #: Behind an event's `callback_url`: created by the fan-out, pruned when idle, not listed, not limited, never disabled.
    CALLBACK = "callback"
    #: Leads to the built-in receiver, not to a server. A tenant has at most one that is not deleted.
    PLAYGROUND = "playground"
