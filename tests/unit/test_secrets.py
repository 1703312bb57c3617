"""Secrets as people see them: made, or brought along."""

from __future__ import annotations

import base64
import re

import pytest

from webhooks_app.core.secrets import check_existing_secret, check_secret, new_ed25519_secret, new_secret
from webhooks_app.core.signing import Ed25519Key, SecretFormat, key_of
from webhooks_app.exceptions import InvalidSecret
from webhooks_app.wire_formats import get_wire_format, wire_format_names

STANDARD = SecretFormat()
TEXT = SecretFormat(prefix="", random_bytes=32, written_as="hex", key_from="utf8", min_key_bytes=16, max_key_bytes=64)


def whsec(length: int) -> str:
    return "whsec_" + base64.b64encode(b"\xff" * length).decode()


@pytest.mark.parametrize("name", [name for name in wire_format_names() if not name.startswith("demo")])
def test_a_new_secret_is_one_that_the_wire_format_would_accept(name: str) -> None:
    secret_format = get_wire_format(name).secret_format
    secret = new_secret(secret_format)
    assert secret != new_secret(secret_format)
    assert secret.startswith(secret_format.prefix)
    assert check_secret(secret, secret_format) == secret


def test_new_secrets_look_as_documented() -> None:
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{32}", new_secret(STANDARD))
    assert re.fullmatch(r"[0-9a-f]{64}", new_secret(TEXT))
    assert re.fullmatch(r"whsec_[0-9a-f]{64}", new_secret(get_wire_format("muchaw").secret_format))


def test_a_new_ed25519_secret_has_both_halves() -> None:
    secret = new_ed25519_secret()
    key = key_of(secret, STANDARD)
    assert isinstance(key, Ed25519Key)
    assert base64.b64decode(secret.removeprefix("whsk_"))[32:] == key.public
    assert check_secret(secret, STANDARD) == secret


@pytest.mark.parametrize("length", [24, 32, 64])
def test_a_customers_secret_of_24_to_64_bytes_is_taken(length: int) -> None:
    assert check_secret(f" {whsec(length)}\n", STANDARD) == whsec(length)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (whsec(23), "23 bytes; it must have 24 to 64"),
        (whsec(65), "65 bytes"),
        ("", "begin with whsec_"),
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "begin with whsec_"),
        ("whsec_", "empty"),
        ("whsec_not base64", "not base64"),
        ("whsec_" + "é" * 40, "not base64"),
        ("whsk_AAAA", "32 bytes, or 64"),
        ("whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=", "begin with whsec_"),
    ],
)
def test_a_customers_secret_that_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidSecret) as caught:
        check_secret(text, STANDARD)
    assert message in str(caught.value)


def test_a_text_that_is_the_key_is_kept_as_it_is() -> None:
    text = " with spaces and an é "
    assert check_secret(text, TEXT) == text
    assert key_of(text, TEXT) == text.encode()


@pytest.mark.parametrize("text", ["", "x" * 15, "x" * 65, "é" * 33, "\ud800" * 20])
def test_a_text_of_the_wrong_length_is_refused(text: str) -> None:
    with pytest.raises(InvalidSecret):
        check_secret(text, TEXT)


def test_a_public_key_is_refused_where_no_prefix_is_asked_for() -> None:
    with pytest.raises(InvalidSecret, match="private"):
        check_secret("whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=", SecretFormat(prefix=""))


@pytest.mark.parametrize("text", ["string", "x", "😀", " "])
def test_the_gateway_takes_any_secret_that_is_not_empty(text: str) -> None:
    secret_format = get_wire_format("gateway").secret_format
    assert check_secret(text, secret_format) == text
    assert key_of(text, secret_format) == text.encode()
    with pytest.raises(InvalidSecret):
        check_secret("", secret_format)


@pytest.mark.parametrize("text", ["x", " ", "é" * 500, "whsec_", "whsk_AAAA", "whpk_mine"])
def test_a_text_that_a_receiver_has_already_is_kept_whatever_its_length(text: str) -> None:
    assert check_existing_secret(text, TEXT) == text


#: Made once with `new_ed25519_secret`; a fresh one would give the test another name in each process.
ED25519 = "whsk_HSTlDpU8DnGiteTnxIYS9ruKntuvCD1VLzrex0NW5o/0NRbACxBL4J/LOWq0cOkPw1wIeqrc8mto+xfEeYUUlQ=="


@pytest.mark.parametrize("text", [whsec(1), whsec(100), "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", ED25519])
def test_a_key_that_a_receiver_has_already_is_kept_whatever_its_length(text: str) -> None:
    assert check_existing_secret(f"{text}\n", STANDARD) == text


@pytest.mark.parametrize(
    ("text", "secret_format"),
    [
        ("", TEXT),
        ("\ud800", TEXT),
        ("", STANDARD),
        ("whsec_", STANDARD),
        ("not base64", STANDARD),
        ("whsk_AAAA", STANDARD),
        ("whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=", STANDARD),
    ],
    ids=str,
)
def test_what_nothing_can_be_signed_with_is_no_secret_of_a_receiver(text: str, secret_format: SecretFormat) -> None:
    with pytest.raises(InvalidSecret):
        check_existing_secret(text, secret_format)
