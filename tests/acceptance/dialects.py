"""What tests of dialects share: a customer's program that asks as the documents' `curl` lines do, over real HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import requests
from django.core.signals import request_finished, request_started

from webhooks_app import registry
from webhooks_app.actions.api_keys import create_api_key
from webhooks_app.models import Scope
from webhooks_app.profiles import get_profile

SECONDS = 10


class Curl:
    """Asks under one root. `headers` go with each request; what is asked with `data` is JSON."""

    def __init__(self, root: str, headers: Mapping[str, str]) -> None:
        self.root = root
        self.headers = dict(headers)

    def __call__(self, method: str, path: str, data: Any = None, **headers: str) -> requests.Response:
        """`data`: bytes are sent as they are, anything else as JSON. Redirects are not followed."""
        body = data if isinstance(data, bytes) or data is None else json.dumps(data)
        given = {"Content-Type": "application/json", **self.headers}
        given.update({name.replace("_", "-"): value for name, value in headers.items()})
        return requests.request(
            method, self.root + path, data=body, headers=given, timeout=SECONDS, allow_redirects=False
        )

    def asked(self, method: str, path: str, data: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and body; None for an empty one."""
        response = self(method, path, data, **headers)
        return response.status_code, response.json() if response.content else None


def key(tenant: str = "acme", scopes: Any = tuple(Scope.values)) -> str:
    """A new API key's text."""
    return create_api_key(tenant, scopes=scopes)[1]


@contextmanager
def everything_finished() -> Iterator[None]:
    """Waits at its end for the server's threads: they look at the database once more after the client has its answer."""
    changed, open_ = threading.Condition(), [0]

    def count(by: int) -> None:
        with changed:
            open_[0] += by
            changed.notify_all()

    def started(**_: Any) -> None:
        count(1)

    def finished(**_: Any) -> None:
        count(-1)

    request_started.connect(started)
    request_finished.connect(finished)
    yield
    with changed:
        changed.wait_for(lambda: open_[0] <= 0, timeout=5)
    request_started.disconnect(started)
    request_finished.disconnect(finished)


@contextmanager
def catalogue_of(profile: str) -> Iterator[None]:
    """The event types that the system documents are all there are, and have no schemas."""
    before = list(registry)
    types = get_profile(profile).event_types
    registry.unregister([type_.name for type_ in before])
    registry.register(*types)
    yield
    registry.unregister([type_.name for type_ in types])
    registry.register(*before)
