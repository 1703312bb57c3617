"""Send bytes to a checked address. `open_transport()` returns the transport from the settings, combined with the playground."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from webhooks_app.address_settings import address_policy
from webhooks_app.conf import settings
from webhooks_app.exceptions import ConfigurationError
from webhooks_app.transport.base import (
    OurFault,
    Request,
    Response,
    StuckCall,
    StuckCallEnded,
    Transport,
    TransportOptions,
)
from webhooks_app.transport.descriptors import (
    bounded_concurrency,
    descriptors_for,
    open_descriptors,
    raise_soft_limit,
    soft_limit,
)
from webhooks_app.transport.playground import PlaygroundTransport

logger = logging.getLogger(__name__)

#: The maximum number of requests in flight, in windows: one for fast requests, the others for hanging ones; see engine.window.
_WINDOWS = 5
_warned: set[tuple[int, int | None]] = set()  # each process warns once

__all__ = [
    "OurFault",
    "Request",
    "Response",
    "StuckCall",
    "StuckCallEnded",
    "Transport",
    "TransportOptions",
    "get_descriptors",
    "open_transport",
    "transport_options",
]


def transport_options() -> TransportOptions:
    """Return the options of a transport from the current settings."""
    chosen = settings()
    return TransportOptions(
        addresses=address_policy(),
        concurrency=_concurrency(chosen.ENGINE.WINDOW),
        body_limit=chosen.RESPONSE_BODY_BYTES,
        header_limit=chosen.ENGINE.RESPONSE_HEADER_BYTES,
        ca_bundle=chosen.EGRESS.CA_BUNDLE,
        proxy=chosen.EGRESS.PROXY,
        proxy_resolves_names=chosen.EGRESS.PROXY_RESOLVES_NAMES,
        source_addresses=tuple(chosen.EGRESS.SOURCE_ADDRESSES),
    )


def get_descriptors() -> None:
    """Let this process have as many file descriptors as the window needs, if the system allows it."""
    raise_soft_limit(open_descriptors() + descriptors_for(_WINDOWS * settings().ENGINE.WINDOW))


def _concurrency(window: int) -> int:
    """Return how many requests may be in flight: enough for many hanging requests beside the window, if descriptors allow it."""
    limit, opened = soft_limit(), open_descriptors()
    allowed = bounded_concurrency(_WINDOWS * window, limit, opened)
    if allowed < 2 * window and (window, limit) not in _warned:
        _warned.add((window, limit))
        logger.warning(
            "webhooks: this process may have %s open files, and %d are open. That is enough for %d requests at once, "
            "not for %d, twice the WINDOW setting. Raise the limit of open files (ulimit -n) of the worker to at least %d.",
            limit,
            opened,
            allowed,
            2 * window,
            opened + descriptors_for(2 * window),
        )
    return allowed


def open_transport(options: TransportOptions | None = None, name: str = "") -> Transport:
    """Return a new transport, which the caller must close. `name`: "auto", "curl" or "requests"; empty: from the settings.

    Raises ConfigurationError for an unknown name, or for "curl" if pycurl is not installed.
    """
    return PlaygroundTransport(_open_network(options or transport_options(), name or settings().TRANSPORT))


@contextmanager
def _no_key_log() -> Iterator[None]:
    """Hide SSLKEYLOGFILE while libcurl is initialised, with the first handle of the process: it would write the secrets of all
    TLS connections to that file."""
    path = os.environ.pop("SSLKEYLOGFILE", None)
    try:
        yield
    finally:
        if path is not None:
            os.environ["SSLKEYLOGFILE"] = path


def _open_network(options: TransportOptions, name: str) -> Transport:
    has_curl = importlib.util.find_spec("pycurl") is not None
    if name == "auto":
        name = "curl" if has_curl else "requests"
    if name == "curl":
        if not has_curl:
            raise ConfigurationError("The curl transport needs pycurl: install the `curl` extra.", field="TRANSPORT")
        from webhooks_app.transport.curl import CurlTransport

        with _no_key_log():
            return CurlTransport(options)
    if name == "requests":
        from webhooks_app.transport.requests import RequestsTransport

        return RequestsTransport(options)
    raise ConfigurationError(f"TRANSPORT must be auto, curl or requests, not {name!r}.", field="TRANSPORT")
