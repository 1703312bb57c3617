"""What tests of dialects share: a customer's program that asks as the documents' `curl` lines do, over real HTTP, and its
receiver with the document's own code."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest
import requests
from django.core.cache import cache

from tests.acceptance.receivers.harness import receiver
from tests.receiver_behaviours import Received
from webhooks_app import registry
from webhooks_app.models import Scope, Tenant
from webhooks_app.tenants.api_keys import create_api_key
from webhooks_app.wire_formats import get_wire_format

SECONDS = 20
#: Bodies that are no JSON object in UTF-8, whatever their header says.
NO_OBJECTS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "application/json"),
    "broken": (b'{"url": "https://', "application/json"),
    "no UTF-8": (b'{"url": "\xff\xfe"}', "application/json"),
    "not a number": (b'{"url": NaN}', "application/json"),
    "a list": (b"[]", "application/json"),
    "a text": (b'"text"', "application/json"),
    "null": (b"null", "application/json"),
    "deep": (b"[" * 100_000 + b"]" * 100_000, "application/json"),
    "deep inside": (b'{"url": ' + b"[" * 600 + b"]" * 600 + b"}", "application/json"),
    "a strange charset": (b"{}", "application/json; charset=zlib"),
    "a form": (b"url=https://example.com/", "application/x-www-form-urlencoded"),
    "another type": (b"<url/>", "text/xml"),
}
#: Ids that are none, or nobody's. They are parts of a path.
NO_IDS = (
    "1",
    "wh_",
    "wh_1",
    "evt_0197",
    "not-an-id",
    "%00",
    "%F0%9F%8E%89",
    "0" * 32,
    "wh_" + "f" * 32,
    "x" * 200,
    "a/b",
    "a%2Fb",
    "%2e",
)


def served(live_server: Any, prefix: str) -> Iterator[str]:
    """The URL of this prefix, for a fixture; no key has been counted yet. Afterwards every request is over: the server's
    threads close their connections to the database only after they have answered."""
    cache.clear()
    yield f"{live_server.url}/{prefix}"
    for thread in threading.enumerate():
        if "process_request_thread" in thread.name:
            thread.join(2)
    cache.clear()


def root_of(prefix: str) -> Any:
    """A fixture, `root`: the URL of this prefix. A test file takes it by assignment."""

    @pytest.fixture
    def root(live_server: Any) -> Iterator[str]:
        yield from served(live_server, prefix)

    return root


class Curl:
    """Asks under one root. `headers` go with each request; redirects are not followed."""

    def __init__(self, root: str, headers: Mapping[str, str]) -> None:
        self.root = root
        self.headers = dict(headers)

    def __call__(self, method: str, path: str, data: Any = None, **headers: str) -> requests.Response:
        """`data`: bytes are sent as they are, anything else as JSON."""
        body = data if isinstance(data, bytes) or data is None else json.dumps(data).encode()
        kind = {} if data is None else {"Content-Type": "application/json"}
        return self.raw(
            method, path, body, {**kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
        )

    def raw(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> requests.Response:
        return requests.request(
            method,
            self.root + path,
            data=body,
            headers={"Connection": "close", **self.headers, **headers},
            allow_redirects=False,
            timeout=SECONDS,
        )

    def asked(self, method: str, path: str, data: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and body; None for an empty one."""
        response = self(method, path, data, **headers)
        return response.status_code, response.json() if response.content else None


class Caller(Curl):
    """One tenant's program, with a key of its own that it sends in this header."""

    def __init__(
        self, root: str, header: str, tenant: str = "acme", scopes: Sequence[str] = tuple(Scope.values)
    ) -> None:
        self.key, self.text = create_api_key(tenant, scopes=scopes)
        super().__init__(root, {header: f"Bearer {self.text}" if header == "Authorization" else self.text})

    @property
    def tenant(self) -> Tenant:
        return self.key.tenant


class Muchaw(Caller):
    """A customer of Muchaw DEV's. What each act answers must be what a success answers."""

    PATH = "/api/webhooks"
    NEW: ClassVar[dict[str, Any]] = {
        "url": "https://your-server.com/webhooks/muchaw",
        "events": ["message.received", "number.activated"],
    }

    def __init__(self, root: str, tenant: str = "acme", scopes: Sequence[str] = tuple(Scope.values)) -> None:
        super().__init__(root, "Authorization", tenant, scopes)

    def made(self, **changes: Any) -> dict[str, Any]:
        return self._told(self("POST", self.PATH, {**self.NEW, **changes}), 201)

    def changed(self, webhook: dict[str, Any], **changes: Any) -> dict[str, Any]:
        return self._told(self("PATCH", f"{self.PATH}/{webhook['id']}", changes))

    def seen(self, webhook: dict[str, Any]) -> dict[str, Any]:
        return self._told(self("GET", f"{self.PATH}/{webhook['id']}"))

    def rotated(self, webhook: dict[str, Any]) -> dict[str, Any]:
        """Asked for as the document's `curl` line does: without a body."""
        return self._told(self("POST", f"{self.PATH}/{webhook['id']}/rotate-secret"))

    def _told(self, answer: requests.Response, status: int = 200) -> dict[str, Any]:
        assert answer.status_code == status, answer.text
        return dict(answer.json())


def key(tenant: str = "acme", scopes: Any = tuple(Scope.values)) -> str:
    """A new API key's text."""
    return create_api_key(tenant, scopes=scopes)[1]


@contextmanager
def catalogue_of(wire_format: str) -> Iterator[None]:
    """The event types that the system documents are all there are, and have no schemas."""
    before = list(registry)
    types = get_wire_format(wire_format).event_types
    registry.unregister([type_.name for type_ in before])
    registry.register(*types)
    yield
    registry.unregister([type_.name for type_ in types])
    registry.register(*before)


def verdicts(language: str, system: str, secret: str, received: Sequence[Received]) -> list[bool]:
    """What the document's own verification code, run in that language, says of these requests."""
    with receiver(language, system, secret) as running:
        for request in received:
            headers = {name: value for name, value in request.headers.items() if name not in ("host", "connection")}
            requests.post(running.url, data=request.body, headers=headers, timeout=10)
        return [verdict.verified for verdict in running.wait_for(len(received))]
