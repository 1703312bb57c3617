"""The code that customers copy and paste verifies what the wire formats sign, in every language, exactly as it is shown."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.acceptance.snippets.harness import Served, serve
from tests.acceptance.test_receivers import PAYLOADS
from tests.wire_formats import BUILT_IN
from webhooks_app.core import js_json
from webhooks_app.core.message import Message
from webhooks_app.core.secrets import new_ed25519_secret, new_secret
from webhooks_app.core.signing import (
    ED25519_PUBLIC,
    Ed25519Key,
    HexScheme,
    Key,
    SecretFormat,
    StandardScheme,
    TimestampedHexScheme,
    key_of,
)
from webhooks_app.snippets import LANGUAGES
from webhooks_app.wire_formats.base import WireFormat

UTF8 = SecretFormat(prefix="", written_as="hex", key_from="utf8", min_key_bytes=1)
#: Wire formats as a host may have them; the first one's names would break out of a literal that is not written with care.
OWN = {
    "quoted": replace(BUILT_IN["standard"], scheme=HexScheme("X-It's-Ours", prefix='it\'s $x "#{y}"\\=')),
    "renamed": replace(BUILT_IN["standard"], secret_format=SecretFormat(prefix="our\"$k'#{}_")),
    "dated": replace(BUILT_IN["standard"], scheme=TimestampedHexScheme("Acme-Signature")),
    "dated_text": replace(BUILT_IN["standard"], scheme=TimestampedHexScheme("Acme-Signature"), secret_format=UTF8),
}
WIRE_FORMATS: dict[str, WireFormat] = {**BUILT_IN, **OWN}
#: Those whose signatures bear a date; they also send one signature for each live secret.
DATED = ("standard", "gateway", "renamed", "dated", "dated_text")
WITH_BASE64 = ("standard", "quoted", "renamed", "dated")
AWKWARD = ("empty", "emoji", "controls", "scripts", "whole numbers", "far numbers", "lone surrogates", "long")
MALFORMED = ("", ",", ",, ,", "=", "v1", "v1,", "v1=", "v1,é", "t=,v1=", "t=x,v1=0", "t=1,t=2", "sha256=", "0" * 64)
MALFORMED_NUMBERS = ("-1", "1e9", "0x10", "9" * 30, "9" * 5000, "٣")

GENUINE, REFUSED = 204, 401

Headers = dict[str, str | bytes]


@dataclass(frozen=True, slots=True)
class Request:
    body: bytes
    headers: Headers


def signed(name: str, *secrets: str, data: Any = None, date: Any = 0) -> Request:
    """An event as it is delivered, signed with these secrets; `date`: so many seconds from now, or the text of a timestamp."""
    wire_format = WIRE_FORMATS[name]
    return signed_with(name, *(key_of(secret, wire_format.secret_format) for secret in secrets), data=data, date=date)


def signed_with(name: str, *keys: Key, data: Any = None, date: Any = 0) -> Request:
    wire_format = WIRE_FORMATS[name]
    stored = js_json.escape_surrogates(json.dumps(data or {}, ensure_ascii=False, separators=(",", ":")))
    message = Message("evt_018f", "message.failed", datetime(2026, 4, 1, tzinfo=UTC), stored)
    body = wire_format.envelope(message)
    timestamp = int(time.time()) + date if isinstance(date, int) else date
    headers = wire_format.scheme.headers(message_id=message.id, timestamp=timestamp, body=body, keys=keys)
    return Request(body, {"Content-Type": "application/json", **dict(headers)})


def fresh(name: str) -> str:
    return new_secret(WIRE_FORMATS[name].secret_format)


@pytest.fixture(scope="module", params=[language.name for language in LANGUAGES])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(request.param, WIRE_FORMATS, tmp_path_factory.mktemp(request.param)) as served:
        yield served


@pytest.fixture(params=WIRE_FORMATS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_genuine_requests_are_accepted_whatever_their_text(served: Served, name: str) -> None:
    secret = fresh(name)
    requests = {payload: signed(name, secret, data=PAYLOADS[payload]) for payload in AWKWARD}
    assert {
        payload: served.ask(name, request.body, request.headers, secret) for payload, request in requests.items()
    } == dict.fromkeys(AWKWARD, GENUINE)


def test_header_names_count_in_any_case(served: Served, name: str) -> None:
    secret = fresh(name)
    request = signed(name, secret)
    for change in (str.lower, str.upper):
        headers = {change(header): value for header, value in request.headers.items()}
        assert served.ask(name, request.body, headers, secret) == GENUINE


def test_another_body_or_secret_is_refused(served: Served, name: str) -> None:
    secret = fresh(name)
    request = signed(name, secret)
    for body in (request.body + b" ", request.body.replace(b"message", b"massage"), b""):
        assert served.ask(name, body, request.headers, secret) == REFUSED
    assert served.ask(name, request.body, request.headers, fresh(name)) == REFUSED
    assert served.ask(name, request.body, request.headers, secret) == GENUINE


def test_missing_and_malformed_headers_are_refused(served: Served, name: str) -> None:
    secret = fresh(name)
    request = signed(name, secret)
    for header in WIRE_FORMATS[name].scheme.header_names:
        kept = {key: value for key, value in request.headers.items() if key.lower() != header}
        assert served.ask(name, request.body, kept, secret) == REFUSED
        answers = {text: served.ask(name, request.body, {**kept, header: text.encode()}, secret) for text in MALFORMED}
        assert answers == dict.fromkeys(MALFORMED, REFUSED), header


def test_a_message_under_another_id_is_refused(served: Served) -> None:
    secret = fresh("standard")
    request = signed("standard", secret)
    changed = {**request.headers, "webhook-id": "evt_other"}
    assert served.ask("standard", request.body, changed, secret) == REFUSED


@pytest.mark.parametrize("name", DATED)
def test_what_is_not_of_now_is_refused_where_signatures_are_dated(served: Served, name: str) -> None:
    secret = fresh(name)
    for date, answer in ((-200, GENUINE), (200, GENUINE), (-900, REFUSED), (900, REFUSED)):
        request = signed(name, secret, date=date)
        assert served.ask(name, request.body, request.headers, secret) == answer, date
    for text in (*MALFORMED, *MALFORMED_NUMBERS):
        request = signed(name, secret, date=text)
        headers: Headers = {key: str(value).encode() for key, value in request.headers.items()}
        assert served.ask(name, request.body, headers, secret) == REFUSED, text


@pytest.mark.parametrize("name", DATED)
def test_both_secrets_of_a_rotation_verify_the_same_request(served: Served, name: str) -> None:
    old, new = fresh(name), fresh(name)
    request = signed(name, new, old)
    assert [served.ask(name, request.body, request.headers, secret) for secret in (old, new, fresh(name))] == [
        *(GENUINE, GENUINE),
        REFUSED,
    ]


def test_signatures_of_other_versions_are_passed_over(served: Served) -> None:
    secret = fresh("standard")
    request = signed("standard", secret)
    signature = str(request.headers["webhook-signature"])
    for text, answer in (
        (f"v1a,AAAA {signature}", GENUINE),
        (signature.replace("v1,", "v2,"), REFUSED),
        (signature.replace("v1,", ""), REFUSED),
    ):
        headers: Headers = {**request.headers, "webhook-signature": text}
        assert served.ask("standard", request.body, headers, secret) == answer, text


def test_secrets_that_customers_brought_are_used_as_they_stand(served: Served) -> None:
    unpadded = base64.b64encode(b"a key of twenty-five bytes").decode().rstrip("=")
    for name, secret in (
        ("standard", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("standard", f"whsec_{unpadded}"),
        ("muchaw", "whsec_clé à moi 😀 0123456789"),
        ("gateway", "string"),
    ):
        request = signed(name, secret)
        assert served.ask(name, request.body, request.headers, secret) == GENUINE, secret


def test_a_secret_that_is_none_lets_nobody_in(served: Served, name: str) -> None:
    """Whoever guesses what such a text becomes as a key could sign with it."""
    nothing = signed_with(name, b"")
    assert served.ask(name, nothing.body, nothing.headers, "") not in range(200, 300)
    if name not in WITH_BASE64:
        return
    prefix = WIRE_FORMATS[name].secret_format.prefix
    for text in (prefix, prefix + "=", prefix + "!"):
        assert served.ask(name, nothing.body, nothing.headers, text) not in range(200, 300), text
    key = key_of(new_ed25519_secret(), BUILT_IN["standard"].secret_format)
    assert isinstance(key, Ed25519Key)
    without_prefix = base64.b64encode(b"somebody forgot its prefix.").decode()
    for text in (key.public_text, without_prefix):
        for guess in guesses(text, prefix):
            request = signed_with(name, guess)
            assert served.ask(name, request.body, request.headers, text) not in range(200, 300), (text, guess)


def guesses(text: str, prefix: str) -> Iterator[bytes]:
    """The keys that careless code makes of a text without the prefix: all of it decoded, or what is behind so many signs."""
    for start in (0, len(ED25519_PUBLIC), len(prefix)):
        rest = text[start:].rstrip("=")
        yield base64.b64decode((rest[:-1] if len(rest.replace("_", "")) % 4 == 1 else rest) + "==")


def test_the_wire_formats_here_are_of_every_kind_of_signature_and_key() -> None:
    kinds = {(type(wire_format.scheme), wire_format.secret_format.key_from) for wire_format in WIRE_FORMATS.values()}
    schemes = (StandardScheme, HexScheme, TimestampedHexScheme)
    assert kinds == {(scheme, key_from) for scheme in schemes for key_from in ("base64", "utf8")}
