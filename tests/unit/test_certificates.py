"""Which certificates and private keys are accepted, and what is said of the others."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.certificates import CLIENT, DAY, NOW, SERVER, certificate, key_pem, name, new_key, pem
from tests.hostile_key_files import block
from tests.openssl_keys import OPENSSL_ENCRYPTED_KEYS, OPENSSL_KEY
from tests.slow_certificates import SLOW_CERTIFICATE
from webhooks_app.core.certificates import (
    AUTHORITIES,
    CERTIFICATE,
    CertificateFacts,
    belongs_to,
    facts_of_pem,
    next_warning,
    read_authorities,
    read_chain,
    usable_until,
)
from webhooks_app.core.private_keys import MAX_CHARACTERS, read_private_key, unencrypted_pem
from webhooks_app.exceptions import InvalidEndpoint

SLOW = block("CERTIFICATE", SLOW_CERTIFICATE)
GOOD_KEYS: list[tuple[Any, ...]] = [
    ("rsa", 2048), ("ec", ec.SECP256R1), ("ec", ec.SECP384R1), ("ec", ec.SECP521R1), ("ed25519",),
]  # fmt: skip
BAD_KEYS: list[tuple[Any, ...]] = [
    ("rsa", 1024), ("ec", ec.SECP256K1), ("ec", ec.SECP224R1), ("ec", ec.BrainpoolP256R1), ("ed448",), ("dsa",),
]  # fmt: skip


def refusal(work: Any, *arguments: Any) -> tuple[str, str]:
    with pytest.raises(InvalidEndpoint) as raised:
        work(*arguments)
    return raised.value.field.removeprefix("client_tls."), str(raised.value)


class TestPrivateKeys:
    @pytest.mark.parametrize("kind", GOOD_KEYS, ids=str)
    @pytest.mark.parametrize("passphrase", ["", "ünlock me"])
    def test_are_read_with_and_without_a_passphrase(self, kind: tuple[Any, ...], passphrase: str) -> None:
        key = new_key(*kind)
        text = "Bag Attributes\n    localKeyID: 01\n" + key_pem(key, passphrase)
        read = read_private_key(text, passphrase)
        assert unencrypted_pem(read) == key_pem(key)
        assert belongs_to(certificate(key), read)
        assert not belongs_to(certificate(new_key(*kind)), read)

    @pytest.mark.parametrize("passphrase", ["", "secret"])
    @pytest.mark.parametrize("kind", ["rsa", "ec"])
    def test_are_read_in_the_traditional_format_of_openssl(self, kind: str, passphrase: str) -> None:
        key = new_key(kind)
        assert unencrypted_pem(read_private_key(key_pem(key, passphrase, "TraditionalOpenSSL"), passphrase)) == key_pem(
            key
        )

    @pytest.mark.parametrize("encryption", OPENSSL_ENCRYPTED_KEYS)
    def test_are_read_as_openssl_encrypts_them(self, encryption: str) -> None:
        text = OPENSSL_ENCRYPTED_KEYS[encryption]
        assert unencrypted_pem(read_private_key(text, "x")) == OPENSSL_KEY
        part, message = refusal(read_private_key, text, "wrong")
        assert (part, "cannot be decrypted" in message) == ("passphrase", True)

    @pytest.mark.parametrize("kind", BAD_KEYS, ids=str)
    def test_of_other_types_are_refused(self, kind: tuple[Any, ...]) -> None:
        part, text = refusal(read_private_key, key_pem(new_key(*kind)), "")
        assert part == "private_key"
        assert "must be RSA with 2048 to 4096 bits" in text or "cannot be read" in text

    def test_that_are_too_large_are_refused_before_they_are_read(self) -> None:
        assert "at most 32768 characters" in refusal(read_private_key, "x" * (MAX_CHARACTERS + 1), "")[1]
        large = block("PRIVATE KEY", bytes(5000))
        assert "more than 6000 characters" in refusal(read_private_key, large, "")[1]
        assert "at most 1000 characters" in refusal(read_private_key, "", "x" * 1001)[1]

    @pytest.mark.parametrize("text", ["", "hello", pem(certificate(new_key())), key_pem(new_key()) * 2])
    def test_must_be_one_in_pem_format(self, text: str) -> None:
        part, text = refusal(read_private_key, text, "")
        assert (part, text.partition(":")[0]) == ("private_key", "Give one private key in PEM format")

    def test_that_are_encrypted_need_their_passphrase(self) -> None:
        for text in (key_pem(new_key(), "right"), key_pem(new_key("rsa"), "right", "TraditionalOpenSSL")):
            part, message = refusal(read_private_key, text, "")
            assert (part, message) == ("passphrase", "The private key is encrypted. Enter its passphrase.")
            part, message = refusal(read_private_key, text, "wrong")
            assert (part, "cannot be decrypted" in message) == ("passphrase", True)

    def test_that_are_not_encrypted_need_none(self) -> None:
        key = new_key()
        assert unencrypted_pem(read_private_key(key_pem(key), "superfluous")) == key_pem(key)

    def test_may_be_in_one_file_with_the_certificates(self) -> None:
        key = new_key("rsa", 4096)
        both = pem(*[certificate(key)] * 4) + key_pem(key)
        assert unencrypted_pem(read_private_key(both, "")) == key_pem(key)
        assert read_chain(pem(certificate(key)) + key_pem(key), NOW)

    def test_that_are_cut_off_are_refused_without_quoting_them(self) -> None:
        text = key_pem(new_key())
        lines = text.splitlines()
        broken = "\n".join([lines[0], lines[1][:20], lines[-1]])
        part, message = refusal(read_private_key, broken, "")
        assert (part, "cannot be read" in message) == ("private_key", True)
        assert lines[1][:10] not in message


class TestChains:
    def test_a_certificate_with_its_intermediate_ones(self) -> None:
        root, middle, leaf = (new_key() for _ in range(3))
        chain = [
            certificate(leaf, "leaf", ("middle", middle), usage=CLIENT),
            certificate(middle, "middle", ("root", root), ca=True),
            certificate(root, "root", ca=True),
        ]
        assert read_chain("Subject: leaf\r\n" + pem(*chain).replace("\n", "\r\n"), NOW) == chain
        part, text = refusal(read_chain, pem(*reversed(chain)), NOW)
        assert part == CERTIFICATE
        assert text.startswith("The certificates are not a chain: number 2 did not issue number 1.")

    def test_a_chain_with_the_right_names_and_wrong_signatures(self) -> None:
        chain = [certificate(new_key(), "leaf", ("root", new_key())), certificate(new_key(), "root", ca=True)]
        assert "not a chain" in refusal(read_chain, pem(*chain), NOW)[1]

    @pytest.mark.parametrize("kind", BAD_KEYS, ids=str)
    def test_keys_of_other_types_are_refused(self, kind: tuple[Any, ...]) -> None:
        text = refusal(read_chain, pem(certificate(new_key(*kind))), NOW)[1]
        assert "The key of CN=client.example.com must be RSA with 2048 to 4096 bits" in text or "cannot be read" in text

    def test_explicit_parameters_of_a_curve_are_refused_at_no_cost(self) -> None:
        began = time.process_time()
        assert "cannot be read" in refusal(read_chain, SLOW * 5, NOW)[1]
        assert time.process_time() - began < 0.1

    def test_a_key_that_is_written_in_an_unusual_way_is_refused(self) -> None:
        """Here with the identifier of RSA-PSS; OpenSSL would not take the general private key for it."""
        general, pss = (bytes.fromhex(f"2a864886f70d0101{last}") for last in ("01", "0a"))
        one = certificate(new_key("rsa")).public_bytes(serialization.Encoding.DER).replace(general, pss)
        assert refusal(read_chain, block("CERTIFICATE", one), NOW)[0] == CERTIFICATE

    def test_the_wrong_time(self) -> None:
        key = new_key()
        expired = certificate(key, before=NOW - 3 * DAY, after=NOW - DAY)
        assert refusal(read_chain, pem(expired), NOW)[1] == (
            "The certificate CN=client.example.com expired on 2026-04-30."
        )
        early = certificate(key, before=NOW + DAY)
        assert "is not valid before 2026-05-02 12:00 UTC" in refusal(read_chain, pem(early), NOW)[1]

    def test_a_certificate_for_servers_only(self) -> None:
        key = new_key()
        assert "does not include clientAuth" in refusal(read_chain, pem(certificate(key, usage=SERVER)), NOW)[1]
        assert read_chain(pem(certificate(key, usage=CLIENT)), NOW)

    def test_a_weak_hash(self) -> None:
        strong = certificate(new_key(), "leaf", ("root", new_key("rsa")))
        assert read_chain(pem(strong), NOW)
        with_sha256, with_sha1 = (bytes.fromhex(f"2a864886f70d0101{last}") for last in ("0b", "05"))
        # Its signature does not count, since nobody looks at it.
        weak = strong.public_bytes(serialization.Encoding.DER).replace(with_sha256, with_sha1)
        assert "signed with a weak hash" in refusal(read_chain, block("CERTIFICATE", weak), NOW)[1]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "There is no certificate in PEM format"),
            (key_pem(new_key()), "There is no certificate in PEM format"),
            ("x" * 32_769, "at most 32768 characters"),
            (pem(certificate(new_key())) * 6, "There are 6 certificates; at most 5 are allowed."),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be read"),
            (pem(certificate(new_key()))[:200], "cannot be read"),
        ],
        ids=["empty", "a key", "large", "many", "broken", "cut off"],
    )
    def test_what_is_no_chain(self, text: str, message: str) -> None:
        part, refused = refusal(read_chain, text, NOW)
        assert part == CERTIFICATE
        assert message in refused


class TestAuthorities:
    def test_roots_and_intermediate_ones_in_any_order(self) -> None:
        root, middle = new_key("rsa"), new_key("ec", ec.SECP384R1)
        both = [
            certificate(middle, "middle", ("root", root), ca=True, cert_sign=True),
            certificate(root, "root", ca=True),
        ]
        assert read_authorities(pem(*both), NOW) == both

    @pytest.mark.parametrize(
        "extensions", [{}, {"ca": False}, {"ca": True, "cert_sign": False}], ids=["none", "no CA", "may not sign"]
    )
    def test_other_certificates_are_refused(self, extensions: dict[str, Any]) -> None:
        part, text = refusal(read_authorities, pem(certificate(new_key(), "server", **extensions)), NOW)
        assert part == AUTHORITIES
        assert text.startswith("CN=server is not the certificate of a certificate authority.")

    def test_expired_ones_and_too_many_are_refused(self) -> None:
        old = certificate(new_key(), "old", ca=True, after=NOW)
        assert "CN=old expired" in refusal(read_authorities, pem(old), NOW)[1]
        assert "at most 10" in refusal(read_authorities, pem(old) * 11, NOW)[1]

    def test_a_costly_exponent_is_refused(self) -> None:
        """A signature of such a key takes as long to verify as to make."""
        key = rsa.RSAPublicNumbers(2**1024 + 1, new_key("rsa").public_key().public_numbers().n).public_key()
        builder = x509.CertificateBuilder(name("a"), name("a"), key, 1, NOW - DAY, NOW + DAY)
        builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
        one = builder.sign(new_key(), hashes.SHA256())
        assert "must be RSA with 2048 to 8192 bits" in refusal(read_authorities, pem(one), NOW)[1]


class TestWhatIsShown:
    def test_names_fingerprint_and_times(self) -> None:
        key = new_key()
        one = certificate(key, "Acme, Inc.", ("root", new_key()))
        [facts] = facts_of_pem(pem(one))
        assert facts == CertificateFacts("CN=Acme\\, Inc.", "CN=root", facts.fingerprint, NOW - DAY, NOW + 90 * DAY)
        assert re.fullmatch(r"([0-9A-F]{2}:){31}[0-9A-F]{2}", facts.fingerprint)
        assert facts.fingerprint.replace(":", "").lower() == one.fingerprint(hashes.SHA256()).hex()

    def test_hostile_names_are_cut_and_have_no_control_characters(self) -> None:
        [facts] = facts_of_pem(pem(certificate(new_key(), "a\u202eb\x1b")))
        assert facts.subject == "CN=a�b�"

    def test_how_long_they_can_be_used(self) -> None:
        def ending(days: int) -> CertificateFacts:
            return CertificateFacts("", "", "", NOW, NOW + days * DAY)

        assert usable_until([], []) is None
        assert usable_until([ending(9), ending(5)], []) == NOW + 5 * DAY
        # An old authority beside its successor.
        assert usable_until([], [ending(5), ending(9)]) == NOW + 9 * DAY
        assert usable_until([ending(7)], [ending(5), ending(6)]) == NOW + 6 * DAY

    def test_when_to_warn(self) -> None:
        end = NOW + 90 * DAY
        warnings = []
        at = next_warning(end, NOW)
        while at is not None:
            warnings.append(end - at)
            at = next_warning(end, at)
        assert warnings == [30 * DAY, 7 * DAY, DAY, timedelta(0)]
        assert next_warning(end, end - 5 * DAY) == end - DAY
        assert next_warning(None, NOW) is None
