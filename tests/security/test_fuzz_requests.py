"""Whatever is sent to the API and to the pages, no response is an error of the server, and none shows a traceback.

Every route of the project is tried with a request that is valid but for some values. The forms of the pages are read from the
pages themselves. FUZZ in the environment is the number of requests for each route, for a longer run than that of every day.
"""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.test import Client

from tests.forms import fields_of
from tests.security.test_tenants import API, BY_ID, LISTS, PAGES, PARAMETERS, with_ids
from tests.security.worlds import World, world
from tests.visitors import visiting

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("visitors", "event_types")]

NUMBER = int(os.environ.get("FUZZ", "12"))
DEEP: Any = [[]]
for _ in range(60):
    DEEP = [DEEP]
#: Values that some code, some database or some clock may not take.
TEXTS = (
    "", " ", "\0", "a\0b", "\ud800", "\u202e", "\r\nX-A: b", "%", "%00", "../../etc/passwd", "'; DROP TABLE x; --", "{{ 7*7 }}",
    "<script>alert(1)</script>", "a" * 300, "b" * 100_000, "٣", "NaN", "-1", "1e400", "9" * 400, "0x1F", "null", "true", "[]",
    "9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-01-01T00:00:00+99:99", "wh_",
    "evt_" + "f" * 32, "dlv_" + "0" * 32,
    "http://[::1", "https://" + "a." * 200 + "com", "https://example.com:99999999/", "*", "*.*", "a.b.c.*",
    "\U0001f600",
)  # fmt: skip
VALUES = (
    *TEXTS, None, True, 0, -1, 2**31, 2**63, 2**64, 10**400, 1e308, 0.1, [], {}, DEEP, [None], [{}], {"": ""}, {"a" * 300: {}},
    {"$or": []}, {"data.a": {"$in": [[]]}}, {"data.a": {"contains": {"x": []}}}, ["*"] * 2000, {"keep": True},
)  # fmt: skip
#: A body with everything that a route of the API reads.
BODY: dict[str, Any] = {
    "url": "https://example.com/", "events": ["*"], "event_types": ["*"], "description": "a", "channels": ["a"],
    "filters": {"data.a": 1}, "rate_limit": 5, "max_in_flight": 2, "fifo": False, "metadata": {}, "headers": {"X-A": "b"},
    "wire_format": "standard", "type": "test.happened", "data": {"a": 1}, "subject": "a", "idempotency_key": "a",
    "occurred_at": "2026-01-01T00:00:00Z", "callback_url": "https://example.com/", "role": "viewer",
    "since": "2026-01-01T00:00:00Z",    "overlap_hours": 1, "secret": None, "reason": "a",
}  # fmt: skip


@pytest.fixture
def ours() -> World:
    return world("ours")


def every_path(prefix: str, mine: World) -> Iterator[str]:
    for found, path in (*BY_ID, *LISTS):
        if found == prefix:
            yield prefix + (with_ids(path, mine.ids, mine.attempt) if "<" in path else path)


def some(dice: random.Random, number: int) -> list[Any]:
    return [dice.choice(VALUES) for _ in range(number)]


def query(dice: random.Random) -> str:
    names = dice.sample(
        [*PARAMETERS, "type", "limit", "since", "until", "status", "span", "by", "mark", "live", "done"], 2
    )
    return urlencode({name: dice.choice(TEXTS).encode("utf-8", "surrogatepass") for name in names})


def check(response: Any, what: Any) -> None:
    assert response.status_code < 500, what
    text = b"".join(response.streaming_content) if response.streaming else response.content
    assert b"Traceback" not in text, what
    assert not re.search(rb"(OperationalError|DataError|site-packages)", text), what


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_the_api(method: str, ours: World, tried: Callable[[int], None]) -> None:
    client = Client(headers={"X-API-Key": ours.key}, raise_request_exception=False)
    cases = 0
    for path in every_path(API, ours):
        dice = random.Random(f"{method} {path.partition('_')[0]}")
        for _ in range(NUMBER):
            body = dict(dice.sample(list(BODY.items()), dice.randint(3, len(BODY))))
            for name in dice.sample(list(body), dice.randint(1, 3)):
                body[name] = dice.choice(VALUES)
            sent = dice.choice([body, body, body, [body], {"events": [body] * 3}, *some(dice, 1)])
            data = dice.choice(
                [json.dumps(sent), json.dumps(sent), json.dumps(sent)[:-1], "\0", "\ufeff{}", '{"a":1,"a":2}']
            )
            headers = {"Idempotency-Key": dice.choice(TEXTS[:3])} if dice.random() < 0.1 else {}
            kind = dice.choice(
                ["application/json"] * 8 + ["text/plain", "application/json; charset=x", "multipart/form-data"]
            )
            asked = f"/{path}?{query(dice)}"
            headers = {name: value for name, value in headers.items() if value.isprintable()}
            response = client.generic(method, asked, data.encode("utf-8", "surrogatepass"), kind, headers=headers)
            check(response, (method, asked, data[:2000], kind))
            cases += 1
            if response.status_code >= 400 and response.content and method != "HEAD":
                assert "json" in response.headers["Content-Type"], (method, asked, data[:2000])
    tried(cases)


@pytest.mark.parametrize(
    "prefix", [API, PAGES, "gateway/", "muchaw/", "msgflash/", "messages-dev/", "msgine/", "admin/webhooks_app/"]
)
def test_paths(prefix: str, ours: World, tried: Callable[[int], None]) -> None:
    client = visiting(ours.tenant)
    client.raise_request_exception = False
    parts = (
        "webhooks",
        "events",
        "deliveries",
        "endpoints",
        "keys",
        "api",
        "event-types",
        "portal",
        "endpoint",
        "event",
    )
    for part in parts:
        for text in TEXTS:
            path = f"/{prefix}{part}/{quote(text.encode('utf-8', 'surrogatepass'))[:4000]}"
            for method in ("GET", "POST", "DELETE"):
                check(client.generic(method, path), (method, path))
    tried(3 * len(parts) * len(TEXTS))


@pytest.mark.processes
def test_the_pages(ours: World, tried: Callable[[int], None]) -> None:
    """Each form of each page, with values that no browser would send."""
    client = visiting(ours.tenant)
    client.raise_request_exception = False
    cases = forms = 0
    for path in every_path(PAGES, ours):
        dice = random.Random(path.partition("_")[0])
        for _ in range(NUMBER):
            asked = f"/{path}?{query(dice)}"
            check(client.get(asked), asked)
            cases += 1
        for _ in range(NUMBER):
            page = client.get(f"/{path}")  # some forms are good for one use
            data: dict[str, Any] = dict(BODY)
            if page.status_code == 200 and not page.streaming and (filled := fields_of(page.content.decode())):
                forms += 1
                data = dict(filled)
            for name in dice.sample(sorted(data), min(len(data), dice.randint(1, 3))):
                data[name] = dice.choice(TEXTS)
            sent = urlencode({name: str(value).encode("utf-8", "surrogatepass") for name, value in data.items()})
            response = client.generic("POST", f"/{path}", sent, "application/x-www-form-urlencoded")
            check(response, (path, sent[:2000]))
            cases += 1
    assert forms > 10 * NUMBER, "forms are found"
    tried(cases)
