"""Key files and certificates that keep OpenSSL busy for seconds or minutes when it reads them, or that are not quite right."""

from __future__ import annotations

import base64
import hashlib

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

#: A prime. That it is one takes OpenSSL seconds to find out, and minutes with a few times as many bits.
PRIME = 2**4423 - 1
SMALLER_PRIME = 2**2203 - 1
PASSPHRASE = "open sesame"

_RSA, _DH, _DHX = (bytes.fromhex(name) for name in ("2a864886f70d010101", "2a864886f70d010301", "2a8648ce3e0201"))
_SHA256_WITH_RSA = bytes.fromhex("2a864886f70d01010b")


def block(label: str, data: bytes) -> str:
    return f"-----BEGIN {label}-----\n{base64.encodebytes(data).decode()}-----END {label}-----\n"


def der(tag: int, *parts: bytes) -> bytes:
    data = b"".join(parts)
    size = len(data)
    length = bytes([size]) if size < 128 else bytes([0x82]) + size.to_bytes(2, "big")
    return bytes([tag]) + length + data


def integer(value: int) -> bytes:
    return der(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def rsa_numbers(p: int, q: int, n: int) -> bytes:
    return der(0x30, *map(integer, (0, n, 65537, 3, p, q, 3, 3, 3)))


def costly_keys() -> dict[str, bytes]:
    """PKCS #8 keys by name."""
    return {
        "rsa with a large factor": _pkcs8(_RSA, der(5), rsa_numbers(PRIME, 5, 3 * 2**2100 + 1)),
        "rsa with factors of unequal size": _pkcs8(_RSA, der(5), rsa_numbers(SMALLER_PRIME, 5, 5 * SMALLER_PRIME)),
        "dh": _pkcs8(_DH, _dh_parameters(), integer(5)),
        "dhx": _pkcs8(_DHX, _dhx_parameters(), integer(5)),
    }


def costly_certificates() -> dict[str, str]:
    return {"dh": _certificate(_DH, _dh_parameters()), "dhx": _certificate(_DHX, _dhx_parameters())}


def certificate_of_unknown_version() -> str:
    return _certificate(_DH, _dh_parameters(), version=66)


def encrypted(key: bytes) -> str:
    """The key, encrypted with PASSPHRASE as PBES2 with PBKDF2."""
    salt, vector = b"saltsalt", bytes(16)
    padder = PKCS7(128).padder()
    secret = hashlib.pbkdf2_hmac("sha256", PASSPHRASE.encode(), salt, 1, 32)
    encryptor = Cipher(algorithms.AES(secret), modes.CBC(vector)).encryptor()
    data = encryptor.update(padder.update(key) + padder.finalize()) + encryptor.finalize()
    return block("ENCRYPTED PRIVATE KEY", der(0x30, _pbes2(_pbkdf2(1)), der(4, data)))


def costly_to_decrypt() -> dict[str, str]:
    """Encrypted keys that ask for a day of processor time, for a terabyte of memory, or for what cannot be interrupted."""
    schemes = {
        "pbkdf2": _pbes2(_pbkdf2(2**40)),
        "scrypt": _pbes2(_scrypt(2**30)),
        "scrypt as usual": _pbes2(_scrypt(2**14)),
        "3des of pkcs12": der(
            0x30, der(6, bytes.fromhex("2a864886f70d010c0103")), der(0x30, der(4, b"saltsalt"), integer(9))
        ),
    }
    return {name: block("ENCRYPTED PRIVATE KEY", der(0x30, one, der(4, bytes(64)))) for name, one in schemes.items()}


def _pkcs8(name: bytes, parameters: bytes, key: bytes) -> bytes:
    return der(0x30, integer(0), der(0x30, der(6, name), parameters), der(4, key))


def _dh_parameters() -> bytes:
    return der(0x30, integer(PRIME), integer(2))


def _dhx_parameters() -> bytes:
    return der(0x30, integer(PRIME), integer(2), integer(2**607 - 1))


def _certificate(key_type: bytes, parameters: bytes, version: int = 2) -> str:
    signature = der(0x30, der(6, _SHA256_WITH_RSA), der(5))
    name = der(0x30, der(0x31, der(0x30, der(6, bytes.fromhex("550403")), der(0x0C, b"c"))))
    validity = der(0x30, der(0x17, b"260101000000Z"), der(0x17, b"480101000000Z"))
    key = der(0x30, der(0x30, der(6, key_type), parameters), der(3, b"\0", integer(5)))
    content = der(0x30, der(0xA0, integer(version)), integer(5), signature, name, validity, name, key)
    return block("CERTIFICATE", der(0x30, content, signature, der(3, bytes(257))))


def _pbes2(function: bytes) -> bytes:
    cipher = der(0x30, der(6, bytes.fromhex("60864801650304012a")), der(4, bytes(16)))
    return der(0x30, der(6, bytes.fromhex("2a864886f70d01050d")), der(0x30, function, cipher))


def _pbkdf2(iterations: int) -> bytes:
    prf = der(0x30, der(6, bytes.fromhex("2a864886f70d0209")), der(5))
    parameters = der(0x30, der(4, b"saltsalt"), integer(iterations), prf)
    return der(0x30, der(6, bytes.fromhex("2a864886f70d01050c")), parameters)


def _scrypt(cost: int) -> bytes:
    parameters = der(0x30, der(4, b"saltsalt"), integer(cost), integer(8), integer(1))
    return der(0x30, der(6, bytes.fromhex("2b06010401da47040b")), parameters)
