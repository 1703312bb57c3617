"""Check the certificates that a customer uploads, and describe them. Times are passed in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, PublicKeyAlgorithmOID

from webhooks_app.core.private_keys import (
    CURVES,
    MAX_CHARACTERS,
    MAX_RSA_BITS,
    MIN_RSA_BITS,
    PrivateKey,
    public_key_bytes,
)
from webhooks_app.exceptions import InvalidEndpoint, gettext_noop

Kind = TypeVar("Kind", bound=x509.ExtensionType)

CERTIFICATE: Final = "certificate"
AUTHORITIES: Final = "authorities"
MAX_CHAIN = 5
#: Each is read again for every connection to the endpoint.
MAX_AUTHORITIES = 10
#: The authorities' keys are only used to verify, which is fast.
MAX_AUTHORITY_BITS = 8192
#: How long before the end of a certificate to warn.
WARN_BEFORE = (timedelta(days=30), timedelta(days=7), timedelta(days=1), timedelta(0))

_MAX_EXPONENT = 2**32
_MAX_NAME = 200
_BEGIN = re.compile("-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----")
_KEY_TYPES = {
    PublicKeyAlgorithmOID.RSAES_PKCS1_v1_5,
    PublicKeyAlgorithmOID.EC_PUBLIC_KEY,
    PublicKeyAlgorithmOID.ED25519,
}
#: What `cryptography` raises if a certificate cannot be read.
_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, InternalError, x509.InvalidVersion)
_STRONG = (hashes.SHA224, hashes.SHA256, hashes.SHA384, hashes.SHA512)


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What is shown of a certificate."""

    subject: str
    issuer: str
    #: SHA-256 of the certificate, in hexadecimal with colons.
    fingerprint: str
    not_before: datetime
    not_after: datetime


def read_chain(text: str, now: datetime) -> list[x509.Certificate]:
    """Return the checked client certificate and its intermediate certificates. Raises InvalidEndpoint."""
    chain = _read(text, CERTIFICATE, MAX_CHAIN)
    for one in chain:
        _check(one, CERTIFICATE, MAX_RSA_BITS, now)
    for number, (one, issuer) in enumerate(pairwise(chain), start=1):
        if not _issued(one, issuer):
            raise _fault(
                CERTIFICATE,
                gettext_noop(
                    "The certificates are not a chain: number %(next)s did not issue number %(number)s. "
                    "Begin with the client certificate; each further one issued the one before it."
                ),
                number=number,
                next=number + 1,
            )
    usage = _extension(chain[0], x509.ExtendedKeyUsage, CERTIFICATE)
    allowed = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    if usage is not None and not allowed.intersection(usage):
        raise _fault(
            CERTIFICATE,
            gettext_noop(
                "The certificate may not be used by clients: its extended key usage does not include clientAuth. "
                "Ask your certificate authority for a client certificate."
            ),
        )
    return chain


def read_authorities(text: str, now: datetime) -> list[x509.Certificate]:
    """Return the checked certificates of certificate authorities. Raises InvalidEndpoint."""
    authorities = _read(text, AUTHORITIES, MAX_AUTHORITIES)
    for one in authorities:
        _check(one, AUTHORITIES, MAX_AUTHORITY_BITS, now)
        constraints = _extension(one, x509.BasicConstraints, AUTHORITIES)
        usage = _extension(one, x509.KeyUsage, AUTHORITIES)
        if constraints is None or not constraints.ca or (usage is not None and not usage.key_cert_sign):
            raise _fault(
                AUTHORITIES,
                gettext_noop(
                    "%(name)s is not the certificate of a certificate authority. Upload the one that issued it."
                ),
                name=_name(one.subject),
            )
    return authorities


def belongs_to(certificate: x509.Certificate, key: PrivateKey) -> bool:
    return _key_bytes(certificate) == public_key_bytes(key)


def pem_of(certificates: Sequence[x509.Certificate]) -> str:
    return "".join(one.public_bytes(Encoding.PEM).decode() for one in certificates)


def facts_of_pem(text: str) -> list[CertificateFacts]:
    """Describe stored certificates."""
    return [_facts(one) for one in x509.load_pem_x509_certificates(text.encode())] if text else []


def usable_until(chain: Sequence[CertificateFacts], authorities: Sequence[CertificateFacts]) -> datetime | None:
    """Return when the first of the chain expires, or the last of the authorities if that is earlier: from then on nothing can be
    sent. An old authority beside its successor does not count."""
    ends = [one.not_after for one in chain]
    ends += [max(one.not_after for one in authorities)] if authorities else []
    return min(ends, default=None)


def next_warning(expires_at: datetime | None, now: datetime) -> datetime | None:
    """Return when to warn next of the end of a certificate; None if there is no further time."""
    if expires_at is None:
        return None
    return next((at for at in (expires_at - before for before in WARN_BEFORE) if at > now), None)


def _read(text: object, part: str, most: int) -> list[x509.Certificate]:
    if not isinstance(text, str) or len(text) > MAX_CHARACTERS:
        raise _fault(
            part, gettext_noop("Certificates are a PEM file of at most %(most)s characters."), most=MAX_CHARACTERS
        )
    count = len(_BEGIN.findall(text))
    if not count:
        raise _fault(
            part,
            gettext_noop("There is no certificate in PEM format: it begins with “-----BEGIN CERTIFICATE-----”."),
        )
    if count > most:
        raise _fault(
            part,
            gettext_noop("There are %(count)s certificates; at most %(most)s are allowed."),
            count=count,
            most=most,
        )
    try:
        return x509.load_pem_x509_certificates(text.encode())
    except _UNREADABLE:
        raise _fault(part, gettext_noop("A certificate cannot be read. Check that the file is complete.")) from None


def _check(one: x509.Certificate, part: str, most_bits: int, now: datetime) -> None:
    try:
        name, before, after = _name(one.subject), one.not_valid_before_utc, one.not_valid_after_utc
        _name(one.issuer)
        is_sound = _has_sound_key(one, most_bits)
        is_strong = one.issuer == one.subject or _is_strong(one)
    except _UNREADABLE:
        raise _fault(part, gettext_noop("A certificate cannot be read. Check that the file is complete.")) from None
    if not is_sound:
        raise _fault(
            part,
            gettext_noop(
                "The key of %(name)s must be RSA with %(least)s to %(most)s bits, an elliptic curve key on a named curve "
                "(P-256, P-384 or P-521) or Ed25519."
            ),
            name=name,
            least=MIN_RSA_BITS,
            most=most_bits,
        )
    if not is_strong:
        raise _fault(
            part,
            gettext_noop("The certificate %(name)s is signed with a weak hash. Get one that is signed with SHA-256."),
            name=name,
        )
    if after <= now:
        raise _fault(
            part, gettext_noop("The certificate %(name)s expired on %(at)s."), name=name, at=f"{after:%Y-%m-%d}"
        )
    if before > now:
        raise _fault(
            part,
            gettext_noop("The certificate %(name)s is not valid before %(at)s."),
            name=name,
            at=f"{before:%Y-%m-%d %H:%M} UTC",
        )


def _has_sound_key(one: x509.Certificate, most_bits: int) -> bool:
    # Reading a key of another type may take minutes: OpenSSL tests whether the numbers of a Diffie-Hellman key are primes.
    if one.public_key_algorithm_oid not in _KEY_TYPES:
        return False
    # The certificate must contain the key as this library would write it: OpenSSL computes with explicit parameters of a curve,
    # even of a known one, and the private key of a restricted RSA key (PSS) would be stored as a general one.
    if _key_bytes(one) not in one.tbs_certificate_bytes:
        return False
    match key := one.public_key():
        case rsa.RSAPublicKey():
            return MIN_RSA_BITS <= key.key_size <= most_bits and key.public_numbers().e < _MAX_EXPONENT
        case ec.EllipticCurvePublicKey():
            return isinstance(key.curve, CURVES)
        case ed25519.Ed25519PublicKey():
            return True
    return False


def _is_strong(one: x509.Certificate) -> bool:
    algorithm = one.signature_hash_algorithm  # None for Ed25519
    return algorithm is None or isinstance(algorithm, _STRONG)


def _issued(one: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        one.verify_directly_issued_by(issuer)
    except (InvalidSignature, *_UNREADABLE):
        return False
    return True


def _extension(one: x509.Certificate, kind: type[Kind], part: str) -> Kind | None:
    try:
        return one.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
    except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType, *_UNREADABLE):
        raise _fault(part, gettext_noop("A certificate cannot be read. Check that the file is complete.")) from None


def _facts(one: x509.Certificate) -> CertificateFacts:
    digest = one.fingerprint(hashes.SHA256()).hex(":").upper()
    return CertificateFacts(
        _name(one.subject), _name(one.issuer), digest, one.not_valid_before_utc, one.not_valid_after_utc
    )


def _name(name: x509.Name) -> str:
    """Return the name as text that is safe to show: without control characters and characters that change the direction."""
    text = name.rfc4514_string()[:_MAX_NAME]
    return "".join(letter if letter.isprintable() else "�" for letter in text) or "–"


def _key_bytes(one: x509.Certificate) -> bytes:
    return one.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _fault(part: str, text: str, **values: object) -> InvalidEndpoint:
    return InvalidEndpoint(text, field=f"client_tls.{part}", **values)
