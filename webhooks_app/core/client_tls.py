"""The certificates of one endpoint, as requests carry them to the transport."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256


@dataclass(frozen=True, slots=True)
class ClientTLS:
    """An endpoint's own part of TLS: a client certificate, certificate authorities to trust beside the public ones, or both.

    All are PEM; empty: none. Connections are shared only by requests whose `digest` is equal, or which have no ClientTLS.
    """

    #: The client certificate, then its intermediate certificates.
    certificate: bytes = field(default=b"", repr=False)
    private_key: bytes = field(default=b"", repr=False)
    authorities: bytes = field(default=b"", repr=False)
    digest: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        parts = (self.certificate, self.private_key, self.authorities)
        object.__setattr__(self, "digest", sha256(b"\0".join(parts)).hexdigest())
