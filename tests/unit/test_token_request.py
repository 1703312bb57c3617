"""Requests for access tokens, and what is read from the responses."""

from __future__ import annotations

import base64
import json
from urllib.parse import parse_qs

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from webhooks_app.core.authentication import B64TOKEN, AccessToken, Authentication, AuthenticationKind
from webhooks_app.core.outcome import OutcomeKind
from webhooks_app.core.token_request import LONGEST_SECONDS, TokenRefused, read_token, token_request
from webhooks_app.engine.access_tokens import access_token_in
from webhooks_app.transport import OurFault, Response

VALUES = {"token_url": "https://login.example.com/token", "client_id": "a:b c", "client_secret": "100%+/=&é"}


def authentication(**more: str) -> Authentication:
    return Authentication(AuthenticationKind.CLIENT_CREDENTIALS, {**VALUES, **more})


def response(**values: object) -> bytes:
    return json.dumps({"access_token": "abc", "token_type": "Bearer", **values}).encode()


def test_the_client_is_form_encoded_before_it_is_put_into_the_header() -> None:
    request = token_request(authentication(), "agent/1")
    headers = dict(request.headers)
    assert (headers["User-Agent"], headers["Content-Type"]) == ("agent/1", "application/x-www-form-urlencoded")
    sent = base64.b64decode(headers["Authorization"].removeprefix("Basic ")).decode()
    assert sent == "a%3Ab+c:100%25%2B%2F%3D%26%C3%A9"
    assert request.body == b"grant_type=client_credentials"


def test_in_the_body_there_is_no_header_too() -> None:
    request = token_request(authentication(client_authentication="body", scope="a b"), "agent/1")
    assert "Authorization" not in dict(request.headers)
    assert parse_qs(request.body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["a:b c"],
        "client_secret": ["100%+/=&é"],
        "scope": ["a b"],
    }
    assert "100%" not in repr(request)


@pytest.mark.parametrize(
    ("expires_in", "seconds"),
    [
        (3600, 3540),
        ("3600", 3540),
        (3600.5, 3540.5),
        (100, 75),
        (1, 0.75),
        (10**300, LONGEST_SECONDS - 60),
        (None, 300),
    ],
)
def test_a_token_is_used_until_shortly_before_it_expires(expires_in: object, seconds: float) -> None:
    assert read_token(200, response(expires_in=expires_in), truncated=False) == AccessToken("abc", seconds)


@example(200, response())
@example(200, b'{"access_token": "' + b"[" * 1000)
@example(200, b"[" * 100_000)
@example(400, b'{"error": ["invalid_client"]}')
@given(
    status=st.integers(100, 999),
    body=st.binary() | st.builds(response, access_token=st.text(), expires_in=st.floats() | st.integers() | st.text()),
)
def test_whatever_a_token_server_responds_is_a_usable_token_or_a_refusal(status: int, body: bytes) -> None:
    token = refusal = None
    try:
        token = read_token(status, body, truncated=False)
    except TokenRefused as error:
        refusal = str(error)
    if token is not None:
        assert 200 <= status < 300
        assert B64TOKEN.fullmatch(token.value)
        assert 0 < token.seconds < LONGEST_SECONDS
    else:
        assert refusal
        assert refusal.startswith("the token server")
        assert refusal.isascii()
        assert len(refusal) < 100


def test_a_fault_on_our_side_is_not_the_token_servers() -> None:
    fault = Response(None, None, b"", b"", 0.0, OutcomeKind.NOT_SENT, "no free file", our_fault=OurFault.DESCRIPTORS)
    outcome = access_token_in(fault)
    assert not isinstance(outcome, AccessToken)
    assert (outcome.kind, outcome.detail) == (OutcomeKind.NOT_SENT, "no free file")
