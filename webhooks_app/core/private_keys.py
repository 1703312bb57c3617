"""Read a private key that a customer uploads, without letting the file decide how much processor time or memory that costs."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from typing import Final

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from webhooks_app.core.der import (
    INTEGER,
    OCTET_STRING,
    OID,
    SEQUENCE,
    TAGGED_0,
    Item,
    contents,
    items,
    number,
    sequence,
)
from webhooks_app.core.key_encryption import KeyEncryption, pkcs8_encryption, traditional_encryption
from webhooks_app.exceptions import InvalidEndpoint, gettext_noop

PRIVATE_KEY: Final = "private_key"
PASSPHRASE: Final = "passphrase"  # noqa: S105 - a name
#: A file may have certificates beside the key.
MAX_CHARACTERS = 32_768
#: An encrypted RSA key of 4,096 bits has 3.5 kB. Reading a key of 16,384 bits takes seconds.
MAX_KEY_CHARACTERS = 6_000
MAX_PASSPHRASE = 1_000
#: The key is used in every handshake, on the thread that sends all requests: 1.5 ms with 4,096 bits, 23 ms with 8,192.
MIN_RSA_BITS, MAX_RSA_BITS = 2048, 4096

#: How many bits a factor may have more than half of the modulus.
_UNEVEN_BITS = 8
#: The secret of P-521 in bytes.
_MAX_SECRET = 66
_RSA, _EC, _ED25519 = bytes.fromhex("2a864886f70d010101"), bytes.fromhex("2a8648ce3d0201"), bytes.fromhex("2b6570")
_CURVES: Final[dict[bytes, type[ec.EllipticCurve]]] = {
    bytes.fromhex("2a8648ce3d030107"): ec.SECP256R1,
    bytes.fromhex("2b81040022"): ec.SECP384R1,
    bytes.fromhex("2b81040023"): ec.SECP521R1,
}
CURVES = tuple(_CURVES.values())
_UNREADABLE = gettext_noop("The private key cannot be read. Check that the file is complete.")
_UNDECRYPTABLE = gettext_noop("The private key cannot be decrypted. Check the passphrase and the file.")
_BLOCK = re.compile(r"-----BEGIN ((?:RSA |EC |ENCRYPTED )?PRIVATE KEY)-----(.*?)-----END \1-----", re.DOTALL)

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def read_private_key(text: str, passphrase: str) -> PrivateKey:
    """Return the private key of a PEM file. Raises InvalidEndpoint, which never contains a part of the file."""
    if not isinstance(text, str) or len(text) > MAX_CHARACTERS:
        raise _fault(
            gettext_noop("The private key must be a PEM file of at most %(most)s characters."), most=MAX_CHARACTERS
        )
    if not isinstance(passphrase, str) or len(passphrase) > MAX_PASSPHRASE:
        raise _fault(
            gettext_noop("The passphrase has at most %(most)s characters."), part=PASSPHRASE, most=MAX_PASSPHRASE
        )
    block = _BLOCK.search(text) if text.count("PRIVATE KEY-----") == 2 else None
    if block is None:
        raise _fault(
            gettext_noop(
                "Give one private key in PEM format: it begins with “-----BEGIN PRIVATE KEY-----” or a similar line."
            )
        )
    if len(block[0]) > MAX_KEY_CHARACTERS:
        raise _fault(
            gettext_noop("The private key is too long: it has more than %(most)s characters."), most=MAX_KEY_CHARACTERS
        )
    label, body = block[1], block[2]
    if not (label.startswith("ENCRYPTED") or "ENCRYPTED" in body):
        return _load(label, lambda: _decoded(body), _UNREADABLE, PRIVATE_KEY)
    if not passphrase:
        raise _fault(gettext_noop("The private key is encrypted. Enter its passphrase."), part=PASSPHRASE)
    encryption, encrypted = _encryption(label, body)
    return _load(label, lambda: encryption.decrypt(encrypted, passphrase.encode()), _UNDECRYPTABLE, PASSPHRASE)


def unencrypted_pem(key: PrivateKey) -> str:
    """Return the key as unencrypted PKCS #8. The caller encrypts it before it is stored."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_key_bytes(key: PrivateKey) -> bytes:
    """Return the public key as DER, to compare it with a certificate's."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _decoded(body: str) -> bytes:
    return base64.b64decode("".join(body.split()), validate=True)


def _encryption(label: str, body: str) -> tuple[KeyEncryption, bytes]:
    try:
        if label.startswith("ENCRYPTED"):
            return pkcs8_encryption(_decoded(body))
        encryption, encoded = traditional_encryption(body)
        return encryption, _decoded(encoded)
    except ValueError:
        raise _fault(
            gettext_noop(
                "The private key is encrypted in a way that takes too long to decrypt, or that is not known. "
                "Decrypt it first, or encrypt it with fewer iterations."
            )
        ) from None


def _load(label: str, read: Callable[[], bytes], fault: str, part: str) -> PrivateKey:
    """Return the key whose DER `read` returns. `fault` and `part` are of the error if that is not possible."""
    try:
        key = _key(label, read())
    except (ValueError, TypeError, UnsupportedAlgorithm, InternalError):  # their texts may quote the file
        raise _fault(fault, part=part) from None
    if key is None:
        raise _fault(
            gettext_noop(
                "The private key must be RSA with %(least)s to %(most)s bits, an elliptic curve key (P-256, P-384 or P-521) or "
                "Ed25519."
            ),
            least=MIN_RSA_BITS,
            most=MAX_RSA_BITS,
        )
    return key


def _key(label: str, data: bytes) -> PrivateKey | None:
    """Return the key, or None if its type or size is not allowed."""
    match label:
        case "RSA PRIVATE KEY":
            return _rsa_key(data)
        case "EC PRIVATE KEY":
            _version, _secret, parameters = contents(sequence(data), INTEGER, OCTET_STRING, TAGGED_0)
            return _ec_key(data, items(parameters))
    _version, algorithm, key = contents(sequence(data), INTEGER, SEQUENCE, OCTET_STRING)
    [name] = contents(items(algorithm), OID)
    if name == _RSA:
        return _rsa_key(key)
    if name == _EC:
        return _ec_key(key, items(algorithm)[1:])
    if name == _ED25519:
        [secret] = contents(items(key), OCTET_STRING, exact=True)
        return ed25519.Ed25519PrivateKey.from_private_bytes(secret)
    return None


def _rsa_key(data: bytes) -> rsa.RSAPrivateKey | None:
    """OpenSSL tests whether the factors are primes, which takes minutes if they are large. So their sizes are checked first."""
    version, n, e, d, p, q, dp, dq, qi = map(number, contents(sequence(data), *[INTEGER] * 9, exact=True))
    if not MIN_RSA_BITS <= n.bit_length() <= MAX_RSA_BITS:
        return None
    most = n.bit_length() // 2 + _UNEVEN_BITS
    if version or max(p.bit_length(), q.bit_length()) > most or p * q != n or max(e, d, dp, dq, qi) >= n:
        raise ValueError("not a key of two factors of about the same size")
    return rsa.RSAPrivateNumbers(p, q, d, dp, dq, qi, rsa.RSAPublicNumbers(e, n)).private_key()


def _ec_key(data: bytes, parameters: Sequence[Item]) -> ec.EllipticCurvePrivateKey | None:
    """Only the secret is used: OpenSSL would compute with whatever else the file contains."""
    curve = _CURVES.get(parameters[0][1]) if [tag for tag, _ in parameters] == [OID] else None
    _version, secret = contents(sequence(data), INTEGER, OCTET_STRING)
    if curve is None:
        return None
    if len(secret) > _MAX_SECRET:
        raise ValueError("longer than the key of any of the curves")
    return ec.derive_private_key(int.from_bytes(secret, "big"), curve())


def _fault(text: str, *, part: str = PRIVATE_KEY, **values: object) -> InvalidEndpoint:
    return InvalidEndpoint(text, field=f"client_tls.{part}", **values)
