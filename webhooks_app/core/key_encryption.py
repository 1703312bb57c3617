"""Decrypt a private key, with a bound on the processor time that its encryption asks for."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from webhooks_app.core.der import INTEGER, OCTET_STRING, OID, SEQUENCE, contents, items, number, sequence

_MAX_ITERATIONS = 2_000_000

_PBES2, _PBKDF2 = bytes.fromhex("2a864886f70d01050d"), bytes.fromhex("2a864886f70d01050c")
#: The hashes of PBKDF2 by the identifiers of their HMAC.
_HASHES: Final = {
    bytes.fromhex("2a864886f70d0207"): "sha1",
    bytes.fromhex("2a864886f70d0208"): "sha224",
    bytes.fromhex("2a864886f70d0209"): "sha256",
    bytes.fromhex("2a864886f70d020a"): "sha384",
    bytes.fromhex("2a864886f70d020b"): "sha512",
}
_CIPHERS: Final = {
    bytes.fromhex("608648016503040102"): "AES-128-CBC",
    bytes.fromhex("608648016503040116"): "AES-192-CBC",
    bytes.fromhex("60864801650304012a"): "AES-256-CBC",
    bytes.fromhex("2a864886f70d0307"): "DES-EDE3-CBC",
}
#: The size of each cipher's key in bytes.
_KEY_SIZES: Final = {"AES-128-CBC": 16, "AES-192-CBC": 24, "AES-256-CBC": 32, "DES-EDE3-CBC": 24}
_HEADERS = re.compile(r"\s*Proc-Type: ?4,ENCRYPTED\s+DEK-Info: ?([A-Z0-9-]+),([0-9A-Fa-f]+)\s+(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class KeyEncryption:
    """How a private key is encrypted."""

    cipher: str
    vector: bytes
    salt: bytes
    #: For PBKDF2. Without a hash, the key is derived as OpenSSL's traditional format does, which costs nothing.
    hash: str = ""
    iterations: int = 0

    def decrypt(self, data: bytes, passphrase: bytes) -> bytes:
        """Return the key as DER. Raises ValueError if the passphrase is wrong."""
        size = _KEY_SIZES[self.cipher]
        # hashlib lets other threads run meanwhile, `cryptography` does not.
        secret = (
            hashlib.pbkdf2_hmac(self.hash, passphrase, self.salt, self.iterations, size)
            if self.hash
            else _traditional_secret(passphrase, self.salt, size)
        )
        algorithm = TripleDES(secret) if self.cipher == "DES-EDE3-CBC" else algorithms.AES(secret)
        decryptor = Cipher(algorithm, modes.CBC(self.vector)).decryptor()
        unpadder = PKCS7(algorithm.block_size).unpadder()
        padded = decryptor.update(data) + decryptor.finalize()
        return unpadder.update(padded) + unpadder.finalize()


def pkcs8_encryption(data: bytes) -> tuple[KeyEncryption, bytes]:
    """Return how an encrypted PKCS #8 key is encrypted, and its encrypted part. Raises ValueError unless that is PBES2 with
    PBKDF2 and a bounded number of iterations."""
    scheme, encrypted = contents(sequence(data), SEQUENCE, OCTET_STRING, exact=True)
    name, parameters = contents(items(scheme), OID, SEQUENCE, exact=True)
    function, cipher = contents(items(parameters), SEQUENCE, SEQUENCE, exact=True)
    function_name, function_parameters = contents(items(function), OID, SEQUENCE, exact=True)
    cipher_name, vector = contents(items(cipher), OID, OCTET_STRING, exact=True)
    if (name, function_name) != (_PBES2, _PBKDF2) or cipher_name not in _CIPHERS:
        raise ValueError("an encryption that is not known")
    values = items(function_parameters)
    salt, iterations = contents(values, OCTET_STRING, INTEGER)
    if not 0 < number(iterations) <= _MAX_ITERATIONS:
        raise ValueError("too many iterations, or none")
    # The length of the key may follow, which the cipher determines, and then the hash.
    names = [contents(items(content), OID)[0] for tag, content in values[2:] if tag == SEQUENCE]
    hash_name = _HASHES.get(names[0]) if names else "sha1"
    if hash_name is None:
        raise ValueError("a hash that is not known")
    return _checked(_CIPHERS[cipher_name], vector, salt, hash_name, number(iterations)), encrypted


def traditional_encryption(body: str) -> tuple[KeyEncryption, str]:
    """Return how a key in OpenSSL's traditional format is encrypted, and its encrypted part as Base64. Raises ValueError if the
    encryption is not known."""
    headers = _HEADERS.fullmatch(body)
    if headers is None or headers[1] not in _KEY_SIZES:
        raise ValueError("an encryption that is not known")
    vector = bytes.fromhex(headers[2])
    return _checked(headers[1], vector, vector[:8]), headers[3]


def _checked(cipher: str, vector: bytes, salt: bytes, hash_name: str = "", iterations: int = 0) -> KeyEncryption:
    if len(vector) != (8 if cipher == "DES-EDE3-CBC" else 16):
        raise ValueError("an initialization vector of another size than the cipher's")
    return KeyEncryption(cipher, vector, salt, hash_name, iterations)


def _traditional_secret(passphrase: bytes, salt: bytes, size: int) -> bytes:
    """Derive a key as OpenSSL's EVP_BytesToKey does with MD5 and one iteration."""
    secret = digest = b""
    while len(secret) < size:
        digest = hashlib.md5(digest + passphrase + salt, usedforsecurity=False).digest()
        secret += digest
    return secret[:size]
