"""Secrets at rest: what was sealed opens in its own place, under its own key, and nowhere else."""

from __future__ import annotations

import base64

import pytest

from webhooks_app.core.encryption import KeyRing, new_key
from webhooks_app.exceptions import SealingError

OLD, NEW = new_key(), new_key()
HERE, ELSEWHERE = "secret:1:value", "secret:2:value"


@pytest.mark.parametrize("text", ["whsec_abc", "", "é😀\x00", "x" * 10_000])
def test_what_was_sealed_opens_in_its_place(text: str) -> None:
    sealed = KeyRing((NEW,)).seal(text, HERE)
    assert KeyRing((NEW,)).open(sealed, HERE) == text
    assert text == "" or text not in sealed
    assert sealed.isascii()


def test_the_same_text_never_looks_the_same() -> None:
    ring = KeyRing((NEW,))
    assert ring.seal("x", HERE) != ring.seal("x", HERE)


def test_a_moved_ciphertext_does_not_open() -> None:
    sealed = KeyRing((NEW,)).seal("x", HERE)
    with pytest.raises(SealingError, match="moved here"):
        KeyRing((NEW,)).open(sealed, ELSEWHERE)


def test_a_changed_ciphertext_does_not_open() -> None:
    ring = KeyRing((NEW,))
    version, key_id, payload = ring.seal("secret", HERE).split(".")
    raw = bytearray(base64.b64decode(payload))
    for position in range(len(raw)):
        changed = bytes(raw[:position]) + bytes([raw[position] ^ 1]) + bytes(raw[position + 1 :])
        with pytest.raises(SealingError):
            ring.open(f"{version}.{key_id}.{base64.b64encode(changed).decode()}", HERE)
    for short in (b"", b"x", bytes(raw[:12]), bytes(raw[:-1])):
        with pytest.raises(SealingError):
            ring.open(f"{version}.{key_id}.{base64.b64encode(short).decode()}", HERE)


def test_an_unknown_key_fails_closed_and_is_named() -> None:
    sealed = KeyRing((OLD,)).seal("x", HERE)
    with pytest.raises(SealingError, match=sealed.split(".")[1]):
        KeyRing((NEW,)).open(sealed, HERE)
    with pytest.raises(SealingError, match="not in ENCRYPTION_KEYS"):
        KeyRing(()).open(sealed, HERE)


def test_another_key_under_a_known_id_does_not_open() -> None:
    sealed = KeyRing((OLD,)).seal("x", HERE)
    known = KeyRing((NEW,)).seal("x", HERE).split(".")[1]
    with pytest.raises(SealingError, match="changed"):
        KeyRing((NEW,)).open(sealed.replace(sealed.split(".")[1], known), HERE)


@pytest.mark.parametrize(
    "text", ["", "x", "whsec_plain", "s1", "s1.", "s1.id", "s1.id.", "s2.id.AAAA", "s1..AAAA", "s1.é.é"]
)
def test_what_is_not_sealed_is_never_returned_as_if_it_were(text: str) -> None:
    for ring in (KeyRing((NEW,)), KeyRing(())):
        with pytest.raises(SealingError):
            ring.open(text, HERE)


def test_payload_that_is_no_base64() -> None:
    version, key_id, _ = KeyRing((NEW,)).seal("x", HERE).split(".")
    for payload in ("!!!!", "é", "A"):
        with pytest.raises(SealingError):
            KeyRing((NEW,)).open(f"{version}.{key_id}.{payload}", HERE)


def test_the_first_key_seals_and_all_of_them_open() -> None:
    old, both = KeyRing((OLD,)), KeyRing((NEW, OLD))
    before = old.seal("x", HERE)
    assert both.open(before, HERE) == "x"
    assert old.is_newest(before)
    assert not both.is_newest(before)
    fresh = both.seal("x", HERE)
    assert both.is_newest(fresh)
    with pytest.raises(SealingError):
        old.open(fresh, HERE)
    assert not both.is_newest("")
    assert not both.is_newest("plain")


def test_without_a_key_nothing_is_sealed() -> None:
    with pytest.raises(SealingError, match="webhooks_key"):
        KeyRing(()).seal("x", HERE)


@pytest.mark.parametrize(
    "key", ["", "not base64!", "é", base64.b64encode(b"x" * 31).decode(), base64.b64encode(b"x" * 33).decode()]
)
def test_a_key_that_is_none_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(SealingError) as caught:
        KeyRing((NEW, key))
    assert not key or key not in str(caught.value)


def test_a_ring_is_made_once() -> None:
    assert KeyRing.of((NEW, OLD)) is KeyRing.of((NEW, OLD))
