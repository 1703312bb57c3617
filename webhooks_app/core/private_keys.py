"""Read a private key that a customer uploads, without letting the file decide how much processor time or memory that costs."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Iterator
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

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
CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)

#: The most iterations of a key derivation, and the largest product of scrypt's N, r and p (128 MiB of memory).
_MAX_ITERATIONS = 2_000_000
_MAX_SCRYPT = 2**20
_SCRYPT = bytes.fromhex("2b06010401da47040b")
_BLOCK = re.compile(r"-----BEGIN ((?:[A-Z]+ )?PRIVATE KEY)-----(.*?)-----END \1-----", re.DOTALL)
_INTEGER, _OID, _SEQUENCE = 0x02, 0x06, 0x30

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
    is_encrypted = block[1].startswith("ENCRYPTED") or "ENCRYPTED" in block[2]
    if is_encrypted and not passphrase:
        raise _fault(gettext_noop("The private key is encrypted. Enter its passphrase."), part=PASSPHRASE)
    if block[1].startswith("ENCRYPTED"):
        _check_derivation(block[2])
    return _checked_type(_load(block[0], passphrase if is_encrypted else ""))


def unencrypted_pem(key: PrivateKey) -> str:
    """Return the key as unencrypted PKCS #8. The caller encrypts it before it is stored."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_key_bytes(key: PrivateKey) -> bytes:
    """Return the public key as DER, to compare it with a certificate's."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _load(text: str, passphrase: str) -> object:
    try:
        return load_pem_private_key(text.encode(), passphrase.encode() if passphrase else None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        pass  # the texts of these errors may quote the file
    if passphrase:
        raise _fault(
            gettext_noop("The private key cannot be decrypted. Check the passphrase and the file."), part=PASSPHRASE
        )
    raise _fault(gettext_noop("The private key cannot be read. Check that the file is complete."))


def _checked_type(key: object) -> PrivateKey:
    match key:
        case rsa.RSAPrivateKey() if MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
            return key
        case ec.EllipticCurvePrivateKey() if isinstance(key.curve, CURVES):
            return key
        case ed25519.Ed25519PrivateKey():
            return key
    raise _fault(
        gettext_noop(
            "The private key must be RSA with %(least)s to %(most)s bits, an elliptic curve key (P-256, P-384 or P-521) or "
            "Ed25519."
        ),
        least=MIN_RSA_BITS,
        most=MAX_RSA_BITS,
    )


def _check_derivation(body: str) -> None:
    """Check how much work the file asks for to derive its encryption key from the passphrase. Raises InvalidEndpoint."""
    try:
        data = base64.b64decode("".join(body.split()), validate=True)
        [(_, whole)] = _items(data)
        tag, algorithm = next(_items(whole))
        numbers = [int.from_bytes(value, "big") for kind, value in _leaves(algorithm) if kind == _INTEGER]
        is_scrypt = any(kind == _OID and value == _SCRYPT for kind, value in _leaves(algorithm))
    except (binascii.Error, ValueError, IndexError, StopIteration, RecursionError):
        tag, numbers, is_scrypt = 0, [], False
    costs = math.prod(numbers[:3]) / _MAX_SCRYPT if is_scrypt else max(numbers, default=0) / _MAX_ITERATIONS
    if tag != _SEQUENCE or costs > 1:
        raise _fault(
            gettext_noop(
                "The private key is encrypted in a way that takes too long to decrypt, or that is not known. "
                "Decrypt it first, or encrypt it with fewer iterations."
            )
        )


def _leaves(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of all values in nested sequences."""
    for tag, content in _items(data):
        if tag == _SEQUENCE:
            yield from _leaves(content)
        else:
            yield tag, content


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of the DER values that follow each other. Raises ValueError, IndexError if it is not DER."""
    position = 0
    while position < len(data):
        tag, size = data[position], data[position + 1]
        position += 2
        if size == 0x80:
            raise ValueError("an indefinite length, which DER does not have")
        if size > 0x80:
            octets = size - 0x80
            size = int.from_bytes(data[position : position + octets], "big")
            position += octets
        if position + size > len(data):
            raise ValueError("a value that is longer than the file")
        yield tag, data[position : position + size]
        position += size


def _fault(text: str, *, part: str = PRIVATE_KEY, **values: object) -> InvalidEndpoint:
    return InvalidEndpoint(text, field=f"client_tls.{part}", **values)
