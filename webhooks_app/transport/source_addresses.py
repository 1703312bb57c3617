"""Bind connections to the operator's own addresses, so that they leave from there (`EGRESS["SOURCE_ADDRESSES"]`)."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Collection, Iterable

#: Linux chooses the port when it connects: otherwise all connections together would have as many ports as one receiver.
_BIND_ADDRESS_NO_PORT = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24)


class BindFailed(OSError):
    """A connection cannot leave from the operator's address."""


def may_leave(address: str, sources: Collection[str]) -> bool:
    """Return whether there is an address to connect from: one of the same version of IP, unless the system chooses."""
    return not sources or _source_for(address, sources) is not None


def no_source(address: str) -> str:
    """Return the detail for an address to which `may_leave` is False."""
    return f"{address} cannot be connected to: SOURCE_ADDRESSES has no IPv{6 if ':' in address else 4} address"


def _source_for(address: str, sources: Iterable[str]) -> str | None:
    return next((source for source in sources if (":" in source) == (":" in address)), None)


def bind_source(sock: socket.socket, sources: Iterable[str]) -> None:
    """Bind the socket to the address of its family, if there is one. Raises BindFailed."""
    source = _source_for("::" if sock.family == socket.AF_INET6 else "", sources)
    if source is None:
        return
    with contextlib.suppress(OSError):  # other systems than Linux
        sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
    try:
        sock.bind((source, 0))
    except OSError as error:
        raise BindFailed(error.errno, f"binding to {source} of SOURCE_ADDRESSES failed: {error.strerror}") from error
