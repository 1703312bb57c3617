"""Certificates and private keys of every kind, made by hand, for the checks of uploaded ones."""

from __future__ import annotations

import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.datetime(2026, 5, 1, 12, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH

_BUILDERS = {
    "rsa": lambda bits=2048: rsa.generate_private_key(65537, bits),
    "ec": lambda curve=ec.SECP256R1: ec.generate_private_key(curve()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ed448": ed448.Ed448PrivateKey.generate,
    "dsa": lambda: dsa.generate_private_key(2048),
}


def new_key(kind: str = "ec", *options: Any) -> Any:
    return _BUILDERS[kind](*options)


def key_pem(key: Any, passphrase: str = "", format: str = "PKCS8") -> str:  # noqa: A002
    encryption: Any = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    kind = getattr(serialization.PrivateFormat, format)
    return key.private_bytes(serialization.Encoding.PEM, kind, encryption).decode()


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def certificate(
    key: Any,
    subject: str = "client.example.com",
    issuer: tuple[str, Any] | None = None,
    *,
    ca: bool | None = None,
    usage: Any = None,
    cert_sign: bool | None = None,
    before: datetime.datetime = NOW - DAY,
    after: datetime.datetime = NOW + 90 * DAY,
    hash: Any = hashes.SHA256,  # noqa: A002
) -> x509.Certificate:
    """A certificate for this key. `issuer`: name and key of its issuer; None: signed by itself."""
    by, by_key = issuer or (subject, key)
    builder = x509.CertificateBuilder(
        name(by), name(subject), key.public_key(), x509.random_serial_number(), before, after
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    if cert_sign is not None:
        usages = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign"), False
        )
        flags = x509.KeyUsage(
            digital_signature=True, key_cert_sign=cert_sign, encipher_only=False, decipher_only=False, **usages
        )
        builder = builder.add_extension(flags, critical=True)
    algorithm = None if isinstance(by_key, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)) else hash()
    return builder.sign(by_key, algorithm)


def pem(*certificates: x509.Certificate) -> str:
    return "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in certificates)
