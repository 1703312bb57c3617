"""Key files and certificates that are made to keep the process busy, and broken ones, are refused at once and with an error."""

from __future__ import annotations

import base64
import random
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.certificates import NOW, certificate, key_pem, new_key, pem
from tests.hostile_key_files import (
    PASSPHRASE,
    PRIME,
    block,
    certificate_of_unknown_version,
    costly_certificates,
    costly_keys,
    costly_to_decrypt,
    der,
    encrypted,
    rsa_numbers,
)
from webhooks_app.core.certificates import read_authorities, read_chain
from webhooks_app.core.private_keys import read_private_key
from webhooks_app.exceptions import InvalidEndpoint

#: Seconds of processor time that a refusal may take.
AT_ONCE = 0.1
TOO_LONG = "takes too long to decrypt, or that is not known"


def refused(work: Callable[..., Any], *arguments: Any) -> str:
    """Return the error, which must come at once."""
    began = time.process_time()
    with pytest.raises(InvalidEndpoint) as raised:
        work(*arguments)
    assert time.process_time() - began < AT_ONCE
    return str(raised.value)


class TestPrivateKeys:
    @pytest.mark.parametrize("name", costly_keys())
    @pytest.mark.parametrize("label", ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"])
    def test_that_are_costly_to_read(self, name: str, label: str) -> None:
        message = refused(read_private_key, block(label, costly_keys()[name]), "")
        assert "cannot be read" in message or "must be RSA with 2048 to 4096 bits" in message

    @pytest.mark.parametrize("name", costly_keys())
    def test_that_are_costly_to_read_and_encrypted(self, name: str) -> None:
        message = refused(read_private_key, encrypted(costly_keys()[name]), PASSPHRASE)
        assert "cannot be decrypted" in message or "must be RSA with 2048 to 4096 bits" in message

    def test_in_the_traditional_format(self) -> None:
        text = block("RSA PRIVATE KEY", rsa_numbers(PRIME, 5, 3 * 2**2100 + 1))
        assert "cannot be read" in refused(read_private_key, text, "")

    @pytest.mark.parametrize("name", costly_to_decrypt())
    def test_that_are_costly_to_decrypt(self, name: str) -> None:
        assert TOO_LONG in refused(read_private_key, costly_to_decrypt()[name], "any")

    def test_whose_encryption_is_no_der(self) -> None:
        nested = b""
        for _ in range(1050):
            nested = der(0x30, nested)
        for data in (nested, b"", b"\x30", b"\x30\x80\x00\x00", b"\x30\x84\xff\xff\xff\xff", b"\x04\x01\x00"):
            assert TOO_LONG in refused(read_private_key, block("ENCRYPTED PRIVATE KEY", data), "any")

    @pytest.mark.parametrize("passphrase", ["\ud800", "\0", "x" * 1000])
    def test_with_an_unusual_passphrase(self, passphrase: str) -> None:
        assert "cannot be decrypted" in refused(read_private_key, key_pem(new_key(), "right"), passphrase)


class TestCertificates:
    @pytest.mark.parametrize("name", costly_certificates())
    @pytest.mark.parametrize("read", [read_chain, read_authorities])
    def test_whose_key_is_costly_to_read(self, read: Callable[..., Any], name: str) -> None:
        assert "The key of CN=c must be RSA" in refused(read, costly_certificates()[name], NOW)

    def test_of_an_unknown_version(self) -> None:
        assert "cannot be read" in refused(read_chain, certificate_of_unknown_version(), NOW)


def _read_all(text: str) -> None:
    read_chain(text, NOW)
    read_authorities(text, NOW)


_EC, _RSA, _ED25519 = new_key("ec", ec.SECP256R1), new_key("rsa"), new_key("ed25519")


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@pytest.mark.parametrize(
    ("text", "read"),
    [
        *[(key_pem(key), lambda text: read_private_key(text, "")) for key in (_EC, _RSA, _ED25519)],
        *[(key_pem(key, "", "TraditionalOpenSSL"), lambda text: read_private_key(text, "")) for key in (_EC, _RSA)],
        (key_pem(_EC, "right"), lambda text: read_private_key(text, "right")),
        *[(pem(certificate(key, ca=True, cert_sign=True)), _read_all) for key in (_EC, _RSA, _ED25519)],
    ],
    ids=[
        "ec",
        "rsa",
        "ed25519",
        "traditional ec",
        "traditional rsa",
        "encrypted",
        "ec cert",
        "rsa cert",
        "ed25519 cert",
    ],
)
def test_broken_files_are_read_or_refused(text: str, read: Callable[[str], Any]) -> None:
    read(text)
    label, original = _decoded(text)
    chance = random.Random(7)
    until = time.process_time() + 2 / 9  # seconds; there are nine of these tests
    count = refusals = 0
    while count < 20 or (count < 1000 and time.process_time() < until):
        count += 1
        try:
            read(block(label, _broken(original, chance)))
        except InvalidEndpoint:
            refusals += 1
    assert refusals > count / 4


def _decoded(text: str) -> tuple[str, bytes]:
    found = re.fullmatch(r"-----BEGIN ([A-Z ]+)-----(.*)-----END .*", text, re.DOTALL)
    assert found
    return found[1], base64.b64decode(found[2])


def _broken(data: bytes, chance: random.Random) -> bytes:
    """The data with one to three bytes changed, left out or added, mostly near the beginning, where the structure is."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(chance.choice((min(40, len(changed)), len(changed))))
        match chance.randrange(4):
            case 0:
                del changed[at]
            case 1:
                changed.insert(at, chance.randrange(256))
            case _:
                changed[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, changed[at] ^ 1 << chance.randrange(8)))
    return bytes(changed)
