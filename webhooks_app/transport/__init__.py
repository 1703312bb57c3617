"""Bytes to a checked address. `open_transport()` gives the transport that the settings choose, with the inspector beside it."""

from __future__ import annotations

import importlib.util

from webhooks_app.conf import address_policy, settings
from webhooks_app.exceptions import ConfigurationError
from webhooks_app.transport.base import Request, Response, Transport, TransportOptions
from webhooks_app.transport.inspector import InspectingTransport

__all__ = [
    "Request",
    "Response",
    "Transport",
    "TransportOptions",
    "open_transport",
    "transport_options",
]


def transport_options() -> TransportOptions:
    """What is the same for every request of one transport, as the settings are now."""
    chosen = settings()
    return TransportOptions(
        addresses=address_policy(),
        concurrency=2 * chosen.WINDOW,  # half of it for requests that hang; see pipeline.window
        body_limit=chosen.RESPONSE_BODY_BYTES,
        header_limit=chosen.RESPONSE_HEADER_BYTES,
        ca_bundle=chosen.CA_BUNDLE,
        proxy=chosen.EGRESS_PROXY,
    )


def open_transport(options: TransportOptions | None = None, name: str = "") -> Transport:
    """A new transport, to be closed by the caller. `name` is "auto", "curl" or "requests"; empty: as the settings say.

    Raises ConfigurationError for an unknown name, or for "curl" where pycurl is not installed.
    """
    return InspectingTransport(_open_network(options or transport_options(), name or settings().TRANSPORT))


def _open_network(options: TransportOptions, name: str) -> Transport:
    has_curl = importlib.util.find_spec("pycurl") is not None
    if name == "auto":
        name = "curl" if has_curl else "requests"
    if name == "curl":
        if not has_curl:
            raise ConfigurationError("The curl transport needs pycurl: install the `curl` extra.", field="TRANSPORT")
        from webhooks_app.transport.curl import CurlTransport

        return CurlTransport(options)
    if name == "requests":
        from webhooks_app.transport.requests import RequestsTransport

        return RequestsTransport(options)
    raise ConfigurationError(f"TRANSPORT must be auto, curl or requests, not {name!r}.", field="TRANSPORT")
