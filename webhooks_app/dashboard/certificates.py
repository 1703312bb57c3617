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
            yield ShownCertificate(facts.certificate, True, _state(facts.certificate, now))
        for one in facts.authorities:
            yield ShownCertificate(one, False, _state(one, now))

    return list(shown())


def _state(facts: CertificateFacts, now: datetime) -> str:
    if facts.not_after <= now:
        return "expired"
    return "soon" if facts.not_after <= now + WARN_BEFORE[0] else ""
