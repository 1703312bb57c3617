"""Receivers that require authentication, and a token server that issues, expires and revokes access tokens."""

from __future__ import annotations

import base64
import json
import threading
import time
from typing import Any
from urllib.parse import parse_qs, unquote_plus

from tests.receiver import Receiver
from tests.receiver_behaviours import Answer, Behaviour, Received

CLIENT_ID, CLIENT_SECRET = "the client", "s3cret: +/%=&"


def requires(value: str) -> Any:
    """A receiver that accepts requests with this Authorization header only."""
    return lambda request: 200 if request.headers.get("authorization") == value else 401


class TokenServer:
    """Takes two paths of the receiver: `/token` issues tokens, `/hook` accepts requests with a valid one."""

    def __init__(self, receiver: Receiver, *, seconds: float = 3600.0) -> None:
        self.receiver = receiver
        self.seconds = seconds
        self.client_secret = CLIENT_SECRET
        #: The parameters of each token request.
        self.asked: list[dict[str, str]] = []
        #: The status of each request to the receiver.
        self.checked: list[int] = []
        self._valid: dict[str, float] = {}
        self._lock = threading.Lock()
        receiver.on("/token", self.issue).on("/hook", self.check)

    def options(self, **values: str) -> dict[str, Any]:
        """The authentication of an endpoint."""
        return {
            "kind": "client_credentials",
            "token_url": self.receiver.url("/token"),
            "client_id": CLIENT_ID,
            "client_secret": self.client_secret,
            **values,
        }

    def issue(self, request: Received) -> Answer:
        given = {name: values[0] for name, values in parse_qs(request.body.decode(), strict_parsing=True).items()}
        with self._lock:
            self.asked.append(given)
            if self._client(request, given) != (CLIENT_ID, self.client_secret):
                return Answer(
                    401, {"WWW-Authenticate": "Basic"}, b'{"error": "invalid_client", "error_description": "no"}'
                )
            if given.get("grant_type") != "client_credentials":
                return Answer(400, {}, b'{"error": "unsupported_grant_type"}')
            token = f"token-{len(self.asked)}.{base64.urlsafe_b64encode(request.body).decode()}"
            self._valid[token] = time.monotonic() + self.seconds
        return issued(access_token=token, expires_in=self.seconds)

    def check(self, request: Received) -> int:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        with self._lock:
            valid = scheme == "Bearer" and self._valid.get(token, 0.0) > time.monotonic()
            self.checked.append(200 if valid else 401)
            return self.checked[-1]

    def revoke_all(self) -> None:
        with self._lock:
            self._valid.clear()

    def _client(self, request: Received, given: dict[str, str]) -> tuple[str, str]:
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        if scheme != "Basic":
            return given.get("client_id", ""), given.get("client_secret", "")
        assert "client_secret" not in given, "RFC 6749: one way per request"
        name, _, secret = base64.b64decode(value).decode().partition(":")
        return unquote_plus(name), unquote_plus(secret)


def issued(**values: Any) -> Answer:
    """A successful response of a token server."""
    body = {"access_token": "abc", "token_type": "Bearer", "expires_in": 3600, **values}
    return Answer(200, {"Content-Type": "application/json"}, json.dumps(body).encode())


def answering(body: bytes, status: int = 200) -> Behaviour:
    return Answer(status, {"Content-Type": "application/json"}, body)
