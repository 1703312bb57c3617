"""The certificates of an endpoint, as the pages show them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from webhooks_app.core.certificates import WARN_BEFORE, CertificateFacts
from webhooks_app.endpoints.client_tls import client_tls_facts
from webhooks_app.exceptions import SealingError
from webhooks_app.models import Endpoint


@dataclass(frozen=True, slots=True)
class ShownCertificate:
    """A certificate on the pages. `state`: "expired", "soon" or empty."""

    facts: CertificateFacts
    is_client: bool
    state: str


def shown_certificates(row: Endpoint, now: datetime) -> list[ShownCertificate] | None:
    """Return the endpoint's certificates; None if they cannot be decrypted because their key is lost."""
    try:
        facts = client_tls_facts(row)
    except SealingError:
        return None

    def shown() -> Iterator[ShownCertificate]:
        if facts.certificate is not None:
            yield ShownCertificate(facts.certificate, True, state_at(facts.certificate.not_after, now))
        for one in facts.authorities:
            yield ShownCertificate(one, False, state_at(one.not_after, now))

    return list(shown())


def state_at(expires_at: datetime | None, now: datetime) -> str:
    """Return "expired", "soon" or an empty string."""
    if expires_at is None or expires_at > now + WARN_BEFORE[0]:
        return ""
    return "expired" if expires_at <= now else "soon"
