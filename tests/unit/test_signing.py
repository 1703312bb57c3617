"""Signatures: the specification's vectors, independent verifiers, and everything that must not pass."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
import standardwebhooks.webhooks
import svix.webhooks
from hypothesis import given, settings
from hypothesis import strategies as st

from webhooks_app.core.signing import (
    Ed25519Key,
    HexScheme,
    Key,
    SecretFormat,
    SignatureScheme,
    StandardScheme,
    TimestampedHexScheme,
    key_of,
)
from webhooks_app.exceptions import InvalidSecret, VerificationFailed

BASE64 = SecretFormat()
UTF8 = SecretFormat(prefix="", key_from="utf8", min_key_bytes=1)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PRIVATE = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
PUBLIC = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
TIME = 1614265330
BODY = b'{"test": 2432232314}'
V1 = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
V1A = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="

STANDARD = StandardScheme()
HEX = HexScheme("X-Signature", prefix="sha256=")
TIMED = TimestampedHexScheme("X-Timed-Signature")
KEY = key_of(SECRET, BASE64)
OTHER = b"another secret of enough bytes"
LIBRARIES = [standardwebhooks.webhooks.Webhook, svix.webhooks.Webhook]


def signed(scheme: SignatureScheme, *keys: Key, timestamp: int = TIME, body: bytes = BODY) -> dict[str, str]:
    return dict(scheme.headers(message_id=ID, timestamp=timestamp, body=body, keys=keys or (KEY,)))


def standard(signatures: str, **changed: str | None) -> dict[str, str]:
    headers = {"webhook-id": ID, "webhook-timestamp": str(TIME), "webhook-signature": signatures}
    headers.update({name.replace("_", "-"): value or "" for name, value in changed.items()})
    return {name: value for name, value in headers.items() if changed.get(name.replace("-", "_"), "") is not None}


# --- vectors and independent verifiers -------------------------------------------------------------------------------


def test_the_specifications_vectors() -> None:
    assert signed(STANDARD) == standard(V1)
    assert signed(STANDARD, key_of(PRIVATE, BASE64)) == standard(V1A)
    assert signed(STANDARD, KEY, key_of(PRIVATE, BASE64)) == standard(f"{V1} {V1A}")


def test_a_private_key_tells_its_public_one() -> None:
    private, public = key_of(PRIVATE, BASE64), key_of(PUBLIC, BASE64)
    assert isinstance(private, Ed25519Key)
    assert private.public_text == PUBLIC
    assert private == public
    STANDARD.verify(standard(V1A), BODY, [public], now=TIME)
    with pytest.raises(InvalidSecret, match="public"):
        signed(STANDARD, public)


@pytest.mark.parametrize("library", LIBRARIES)
@settings(max_examples=50, deadline=None)
@given(body=st.text(st.characters(exclude_categories=["Cs"])), raw=st.binary(min_size=24, max_size=64))
def test_independent_libraries_verify_what_we_sign(library: type, body: str, raw: bytes) -> None:
    secret = "whsec_" + base64.b64encode(raw).decode()
    headers = signed(STANDARD, key_of(secret, BASE64), timestamp=int(time.time()), body=body.encode())
    try:
        library(secret).verify(body, headers)
    except ValueError:
        assert library is LIBRARIES[0]  # it also parses the body; a text that is no JSON got past the signature


@pytest.mark.parametrize("library", LIBRARIES)
def test_during_a_rotation_the_old_secret_and_the_new_one_verify(library: type) -> None:
    new, old, stranger = ("whsec_" + base64.b64encode(os.urandom(24)).decode() for _ in range(3))
    headers = signed(STANDARD, key_of(new, BASE64), key_of(old, BASE64), timestamp=int(time.time()))
    library(new).verify(BODY.decode(), headers)
    library(old).verify(BODY.decode(), headers)
    with pytest.raises(standardwebhooks.webhooks.WebhookVerificationError):
        library(stranger).verify(BODY.decode(), headers)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("body", ["", "{}", '{"x":"é😀"}'])
def test_we_verify_what_independent_libraries_sign(library: type, body: str) -> None:
    now = int(time.time())
    headers = standard(library(SECRET).sign(ID, datetime.fromtimestamp(now, tz=UTC), body), webhook_timestamp=str(now))
    STANDARD.verify(headers, body.encode(), [OTHER, KEY], now=now)


# --- what must pass, what must fail ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "signatures",
    [
        V1,
        f"v0,AAAA v2,zzzz nonsense v1,AAAA v1, {V1}",
        f"{V1A} {V1}",
        f"v1,é {V1}",
        f"  {V1}  ",
    ],
)
def test_one_valid_signature_among_others_is_enough(signatures: str) -> None:
    STANDARD.verify(standard(signatures), BODY, [KEY], now=TIME)


@pytest.mark.parametrize("off", [-300, 0, 300])
def test_timestamps_within_five_minutes_pass(off: int) -> None:
    STANDARD.verify(standard(V1), BODY, [KEY], now=TIME + off)
    TIMED.verify(signed(TIMED), BODY, [KEY], now=TIME + off)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(standard("v1,"), id="empty signature"),
        pytest.param(standard(V1[:-4]), id="truncated signature"),
        pytest.param(standard(V1[:-1]), id="signature without its padding"),
        pytest.param(standard(signed(STANDARD, OTHER)["webhook-signature"]), id="another secret's"),
        pytest.param(standard(V1.replace("v1,", "v2,")), id="unknown version"),
        pytest.param(standard(V1.replace("v1,", "v1a,")), id="version of another kind of key"),
        pytest.param(standard(V1A), id="signature of a key we do not have"),
        pytest.param(standard("é"), id="not ASCII"),
        pytest.param(standard(V1, webhook_id="msg_other"), id="another id"),
        pytest.param(standard(V1, webhook_id=None), id="no id"),
        pytest.param(standard(V1, webhook_timestamp=None), id="no timestamp"),
        pytest.param(standard(V1, webhook_signature=None), id="no signature"),
        pytest.param(standard(V1, webhook_timestamp=""), id="empty timestamp"),
        pytest.param(standard(V1, webhook_timestamp="noon"), id="timestamp that is no number"),
        pytest.param(standard(V1, webhook_timestamp=f"{TIME}.0"), id="timestamp with a fraction"),
        pytest.param(standard(V1, webhook_timestamp=f"{TIME}\n"), id="timestamp with a line end"),
        pytest.param(standard(V1, webhook_timestamp=f"+{TIME}"), id="timestamp with a sign"),
        pytest.param(standard(V1, webhook_timestamp=str(TIME + 1)), id="another timestamp"),
        pytest.param(standard(V1, webhook_timestamp="9" * 5000), id="timestamp out of range"),
    ],
)
def test_a_request_that_must_fail(headers: Mapping[str, str]) -> None:
    with pytest.raises(VerificationFailed):
        STANDARD.verify(headers, BODY, [KEY], now=TIME)


@pytest.mark.parametrize("scheme", [STANDARD, TIMED])
@pytest.mark.parametrize("off", [-301, 301, 10**6])
def test_timestamps_beyond_five_minutes_fail(scheme: SignatureScheme, off: int) -> None:
    with pytest.raises(VerificationFailed, match="too far"):
        scheme.verify(signed(scheme), BODY, [KEY], now=TIME + off)
    scheme.verify(signed(scheme), BODY, [KEY], now=TIME + off, tolerance=abs(off))


@pytest.mark.parametrize("scheme", [STANDARD, HEX, TIMED])
def test_every_scheme_verifies_what_it_signed_and_nothing_else(scheme: SignatureScheme) -> None:
    headers = signed(scheme)
    scheme.verify({name.upper(): value for name, value in headers.items()}, BODY, iter([OTHER, KEY]), now=TIME)
    assert {name.lower() for name in headers} == set(scheme.header_names)
    for keys, body in (([KEY], BODY + b" "), ([OTHER], BODY), ([], BODY), ([b""], BODY), ([KEY, b""], BODY)):
        with pytest.raises(VerificationFailed):
            scheme.verify(headers, body, keys, now=TIME)
    for name in headers:
        for value in ("", "x", "é", headers[name][:-1]):
            with pytest.raises(VerificationFailed):
                scheme.verify({**headers, name: value}, BODY, [KEY], now=TIME)


def test_an_empty_secret_signature_never_passes() -> None:
    with pytest.raises(VerificationFailed):
        STANDARD.verify(signed(STANDARD, b""), BODY, [b""], now=TIME)


def test_ed25519_signatures_that_do_not_fit_fail() -> None:
    public = key_of(PUBLIC, BASE64)
    for signatures in ("v1a,", "v1a,AAAA", "v1a," + base64.b64encode(bytes(64)).decode(), V1A.replace("v1a", "v1")):
        with pytest.raises(VerificationFailed):
            STANDARD.verify(standard(signatures), BODY, [public], now=TIME)


@pytest.mark.parametrize(
    ("secret", "signature"),
    [
        (KEY, "v1,"),
        (KEY, "v1," + base64.b64encode(bytes(32)).decode()),
        (PUBLIC, "v1a," + base64.b64encode(bytes(64)).decode()),
    ],
)
def test_a_header_of_many_signatures_costs_little_more_than_one_with_few(secret: bytes | str, signature: str) -> None:
    key = secret if isinstance(secret, bytes) else key_of(secret, BASE64)
    body = bytes(2_000_000)

    def cost(count: int) -> float:
        began = time.thread_time()
        with pytest.raises(VerificationFailed):
            STANDARD.verify(standard(" ".join([signature] * count)), body, [key], now=TIME)
        return time.thread_time() - began

    cost(1)
    few = min(cost(20) for _ in range(3))
    assert min(cost(1000) for _ in range(3)) < 10 * few


# --- the hex schemes -------------------------------------------------------------------------------------------------


def test_a_hex_signature_is_of_the_raw_body_with_the_first_key() -> None:
    # printf '{}' | openssl dgst -sha256 -hmac key
    value = "a777724d943eb48dc69bca8a4a6d57a04db3f9ec7e1de4e581e860265bdf3032"
    assert signed(HEX, b"key", OTHER, body=b"{}") == {"X-Signature": f"sha256={value}"}
    assert signed(HexScheme("X-Bare"), b"key", body=b"{}", timestamp=0) == {"X-Bare": value}


def test_the_prefix_must_be_there() -> None:
    with pytest.raises(VerificationFailed):
        HEX.verify({"X-Signature": signed(HEX)["X-Signature"].removeprefix("sha256=")}, BODY, [KEY], now=TIME)


def test_a_timestamped_signature_has_one_v1_a_key() -> None:
    value = signed(TIMED, KEY, OTHER)["X-Timed-Signature"]
    assert [part.partition("=")[0] for part in value.split(",")] == ["t", "v1", "v1"]
    for key in (KEY, OTHER):
        TIMED.verify({"x-timed-signature": value}, BODY, [key], now=TIME)
        TIMED.verify({"x-timed-signature": value.replace(",", ", ") + ", v0=x"}, BODY, [key], now=TIME)


@pytest.mark.parametrize("change", [("t=", "x="), ("t=", "t=1,t="), ("v1=", "v0="), (f"t={TIME}", "t=")])
def test_a_timestamped_signature_that_must_fail(change: tuple[str, str]) -> None:
    value = signed(TIMED)["X-Timed-Signature"].replace(*change)
    with pytest.raises(VerificationFailed):
        TIMED.verify({"x-timed-signature": value}, BODY, [KEY], now=TIME)


@pytest.mark.parametrize("scheme", [HEX, TIMED])
def test_the_hex_schemes_refuse_ed25519(scheme: SignatureScheme) -> None:
    with pytest.raises(InvalidSecret, match="HMAC"):
        signed(scheme, key_of(PRIVATE, BASE64))


# --- keys ------------------------------------------------------------------------------------------------------------


def test_a_key_is_the_base64_after_the_prefix_or_the_whole_text() -> None:
    assert key_of(SECRET, BASE64) == base64.b64decode(SECRET[6:])
    assert key_of(SECRET[6:], BASE64) == base64.b64decode(SECRET[6:])
    assert key_of("whsec_QUJD" + "RA", BASE64) == b"ABCD"
    assert key_of(SECRET, UTF8) == SECRET.encode()
    assert key_of("clé 😀 ", UTF8) == "clé 😀 ".encode()
    assert key_of(PRIVATE, UTF8) == PRIVATE.encode()


@pytest.mark.parametrize(
    ("text", "secret_format"),
    [
        ("", UTF8),
        ("\ud800", UTF8),
        ("", BASE64),
        ("whsec_", BASE64),
        ("whsec_====", BASE64),
        ("whsec_é", BASE64),
        ("whsec_a b", BASE64),
        ("whsec_A", BASE64),
        ("whsk_AAAA", BASE64),
        ("whpk_AAAA", BASE64),
        (PRIVATE[:-6] + "AAAA==", BASE64),
    ],
)
def test_a_text_that_is_no_key(text: str, secret_format: SecretFormat) -> None:
    with pytest.raises(InvalidSecret):
        key_of(text, secret_format)


def test_a_private_key_is_never_shown() -> None:
    key = key_of(PRIVATE, BASE64)
    seed = base64.b64decode(PRIVATE[5:])[:32]
    assert repr(seed)[2:-1] not in repr(key)
    assert "private" not in repr(key)
