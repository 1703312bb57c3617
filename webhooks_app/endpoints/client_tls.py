"""An endpoint's client certificate and certificate authorities: check, store, describe. The private key is never shown again."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict

from webhooks_app.core.certificates import (
    AUTHORITIES,
    CERTIFICATE,
    CertificateFacts,
    belongs_to,
    facts_of_pem,
    next_warning,
    pem_of,
    read_authorities,
    read_chain,
    usable_until,
)
from webhooks_app.core.client_tls import ClientTLS
from webhooks_app.core.private_keys import PASSPHRASE, PRIVATE_KEY, read_private_key, unencrypted_pem
from webhooks_app.exceptions import InvalidEndpoint, gettext_noop
from webhooks_app.models import Endpoint
from webhooks_app.tracebacks import hidden_locals
from webhooks_app.transport.requests_tls import load_client_tls


class ClientTLSInput(TypedDict, total=False):
    """PEM texts. An omitted part stays unchanged; None or an empty text removes it.

    `certificate` and `private_key` belong together. Without a private key, the stored one must fit the new certificate.
    `passphrase` decrypts the private key and is not stored.
    """

    certificate: str | None
    private_key: str | None
    passphrase: str | None
    authorities: str | None


@dataclass(frozen=True, slots=True)
class ClientTLSFacts:
    """What is shown of an endpoint's certificates."""

    #: The client certificate; None if there is none.
    certificate: CertificateFacts | None
    authorities: Sequence[CertificateFacts]


def change_client_tls(row: Endpoint, given: ClientTLSInput | None, now: datetime, *, keep: bool) -> None:
    """Check the parts and put them into the endpoint; the caller saves. None removes all.

    `keep`: whether omitted parts stay. Raises InvalidEndpoint, and SealingError if the encryption key of the stored parts is
    missing.
    """
    parts: dict[str, str] = {}
    if given is not None:
        _check_parts(given)
        # With a lost encryption key, all can still be replaced or removed.
        parts = row.stored_tls() if keep and not _replaces_all(given) else {}
        _change_certificate(parts, given, now)
        if AUTHORITIES in given:
            parts.pop(AUTHORITIES, None)
        if authorities := given.get(AUTHORITIES):
            parts[AUTHORITIES] = pem_of(read_authorities(authorities, now))
    _try_out(parts)
    row.set_client_tls(parts)
    row.certificate_expires_at = usable_until(*_facts_in(parts))
    row.certificate_warning_at = next_warning(row.certificate_expires_at, now)


@hidden_locals()  # the admin calls it while it renders a page, where nobody else hides them
def client_tls_facts(row: Endpoint) -> ClientTLSFacts:
    """Describe the endpoint's certificates. Raises SealingError if they cannot be decrypted because their key is missing."""
    parts = row.stored_tls() if row.client_tls else {}
    chain, authorities = _facts_in(parts)
    return ClientTLSFacts(chain[0] if chain else None, authorities)


def _facts_in(parts: Mapping[str, str]) -> tuple[list[CertificateFacts], list[CertificateFacts]]:
    """Describe the chain and the authorities."""
    return facts_of_pem(parts.get(CERTIFICATE, "")), facts_of_pem(parts.get(AUTHORITIES, ""))


def _check_parts(given: object) -> None:
    names = ClientTLSInput.__annotations__
    if not isinstance(given, Mapping) or not all(name in names for name in given):
        raise InvalidEndpoint(
            gettext_noop("`client_tls` is an object with the keys %(names)s."),
            field="client_tls",
            names=", ".join(names),
        )
    for name, text in given.items():
        if text is not None and not isinstance(text, str):
            raise InvalidEndpoint(gettext_noop("`%(name)s` is a text."), field=f"client_tls.{name}", name=name)


def _replaces_all(given: ClientTLSInput) -> bool:
    has_new_key = bool(given.get(PRIVATE_KEY)) or not given.get(CERTIFICATE)
    return CERTIFICATE in given and AUTHORITIES in given and has_new_key


def _change_certificate(parts: dict[str, str], given: ClientTLSInput, now: datetime) -> None:
    stored_key = parts.get(PRIVATE_KEY, "")
    given_key = given.get(PRIVATE_KEY) or ""
    if CERTIFICATE in given:
        parts.pop(CERTIFICATE, None)
        parts.pop(PRIVATE_KEY, None)
    text = given.get(CERTIFICATE) or ""
    if given_key and not text:
        raise _fault(CERTIFICATE, gettext_noop("Give the certificate that belongs to the private key."))
    if not text:
        return
    chain = read_chain(text, now)
    if not given_key and not stored_key:
        raise _fault(PRIVATE_KEY, gettext_noop("Give the private key that belongs to the certificate."))
    key = read_private_key(given_key, given.get(PASSPHRASE) or "") if given_key else read_private_key(stored_key, "")
    if not belongs_to(chain[0], key):
        raise _fault(
            PRIVATE_KEY,
            gettext_noop(
                "The private key does not belong to the first certificate. If there are several certificates, begin with the "
                "client certificate."
            ),
        )
    parts[CERTIFICATE], parts[PRIVATE_KEY] = pem_of(chain), unencrypted_pem(key)


def _try_out(parts: Mapping[str, str]) -> None:
    """Load the parts as for a connection. OpenSSL may refuse what passes all other checks, for example because of its policy."""
    tls = ClientTLS(**{name: text.encode() for name, text in parts.items()})
    if refusal := load_client_tls(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), tls):
        raise InvalidEndpoint(
            gettext_noop("These certificates cannot be used for a connection: %(reason)s"),
            field="client_tls",
            reason=refusal,
        )


def _fault(part: str, text: str) -> InvalidEndpoint:
    return InvalidEndpoint(text, field=f"client_tls.{part}")
