"""A tenant's keys, users and portal sessions reach nothing of another tenant's, on no route of the API and no page.

The routes are read from the project, so one that is added is tried, too.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from tests.api_routes import every_view
from tests.portal import opened
from tests.security.worlds import World, world
from tests.visitors import visiting
from webhooks_app.core.role import Role
from webhooks_app.tenants.portal import create_portal_link

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("visitors", "event_types")]

API, PAGES = "api/v1/", "webhooks/"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
#: Parts of paths that are ids or names of no tenant's row.
OF_NOBODY = {"event-types/<str:name>", "portal/<str:token>"}
#: What filters, searches and lists read from the query, and which of another's values are tried there.
PARAMETERS = {
    "webhook": ["webhooks"], "endpoint": ["webhooks"], "event": ["events"], "delivery": ["deliveries"], "key": ["keys"],
    "target": ["webhooks", "events", "deliveries", "keys"], "q": ["webhooks", "events", "deliveries", "mark"],
    "subject": ["mark"], "channel": ["mark"], "idempotency_key": ["mark"], "cursor": ["deliveries", "attempt"],
    "before": ["webhooks", "events", "deliveries", "keys"], "after": ["events", "deliveries", "attempt"],
    "tenant": ["uid", "tenant"],
}  # fmt: skip
#: With these, what acts on a row of one's own acts.
ACTS = {
    "act": "pause",
    "confirmed": "yes",
    "since": "2026-01-01T00:00:00Z",
    "type": "test.happened",
    "description": "ours",
}


def paths(prefix: str) -> list[str]:
    """Every path below the prefix, as `webhooks/<id>/test`."""
    found = {
        re.sub(r"\(\?P<\w+>[^)]*\)", "<id>", path.removeprefix(prefix)).replace("^", "").replace("$", "")
        for path, _ in every_view()
        if path.startswith(prefix)
    }
    return sorted(found - OF_NOBODY)


def with_ids(path: str, ids: dict[str, str], attempt: str) -> str:
    """The path with these ids in it."""
    first, *more = re.findall(r"<[^>]+>", path)
    path = path.replace(first, ids[path.partition("/")[0]], 1)
    return path.replace(more[0], attempt) if more else path


BY_ID = [(prefix, path) for prefix in (API, PAGES) for path in paths(prefix) if "<" in path]
LISTS = [(prefix, path) for prefix in (API, PAGES) for path in paths(prefix) if "<" not in path]


def key_of(mine: World) -> Callable[..., HttpResponse]:
    client = Client(headers={"X-API-Key": mine.key}, raise_request_exception=False)

    def ask(method: str, path: str, data: Any = None) -> HttpResponse:
        return client.generic(method, f"/{path}", json.dumps(data or {}), "application/json")  # type: ignore[return-value]

    return ask


def browser(client: Client) -> Callable[..., HttpResponse]:
    client.raise_request_exception = False

    def ask(method: str, path: str, data: Any = None) -> HttpResponse:
        if method == "POST":
            return client.post(f"/{path}", data or {})  # type: ignore[return-value]
        return client.generic(method, f"/{path}")  # type: ignore[return-value]

    return ask


@pytest.fixture
def theirs() -> World:
    return world("theirs")


@pytest.fixture
def ours() -> World:
    return world("ours")


def askers(prefix: str, mine: World) -> Iterator[tuple[str, Callable[..., HttpResponse]]]:
    """Yield each kind of user that may use these paths, with all rights."""
    if prefix == API:
        yield "a key", key_of(mine)
    else:
        _, token = create_portal_link(mine.tenant, role="manager")
        yield "a portal session", browser(opened(token))
    yield "a user", browser(visiting(mine.tenant, Role.MANAGER))


def text_of(response: HttpResponse) -> str:
    content = b"".join(response.streaming_content) if response.streaming else response.content
    return content.decode(errors="replace") + str(response.headers)


@pytest.mark.parametrize(("prefix", "path"), BY_ID, ids=[prefix + path for prefix, path in BY_ID])
def test_a_row_of_anothers_is_like_one_that_there_is_not(
    prefix: str, path: str, ours: World, theirs: World, tried: Callable[[int], None]
) -> None:
    nobodys = {name: f"{id_.partition('_')[0]}_{uuid.uuid4().hex}" for name, id_ in theirs.ids.items()}
    asked = prefix + with_ids(path, theirs.ids, theirs.attempt)
    unknown = prefix + with_ids(path, nobodys, str(uuid.uuid4()))
    before, cases = theirs.rows(), 0
    for who, ask in askers(prefix, ours):
        for method in METHODS:
            given, other = ask(method, asked, ACTS), ask(method, unknown, ACTS)
            assert given.status_code == other.status_code, (who, method)
            assert given.status_code in (302, 403, 404, 405, 410), (who, method)
            assert theirs.mark not in text_of(given), (who, method)
            cases += 1
    assert theirs.rows() == before
    # The attempt is of their delivery: with our delivery before it, it is not found either.
    if path.count("<") == 2:
        for _, ask in askers(prefix, ours):
            assert ask("GET", prefix + with_ids(path, ours.ids, theirs.attempt)).status_code == 404
            cases += 1
    tried(cases)


@pytest.mark.parametrize(("prefix", "path"), BY_ID, ids=[prefix + path for prefix, path in BY_ID])
def test_ones_own_row_is_found(prefix: str, path: str, theirs: World) -> None:
    """Or else the other tests show nothing."""
    asked = prefix + with_ids(path, theirs.ids, theirs.attempt)
    ask = dict(askers(prefix, theirs))["a user"]
    statuses = {method: ask(method, asked, ACTS).status_code for method in METHODS}
    assert any(status not in (404, 405) for status in statuses.values()), statuses


@pytest.mark.parametrize(("prefix", "path"), LISTS, ids=[prefix + path for prefix, path in LISTS])
def test_no_list_search_or_export_has_anything_of_anothers(
    prefix: str, path: str, ours: World, theirs: World, tried: Callable[[int], None]
) -> None:
    before, cases = theirs.rows(), 0
    known = {**theirs.ids, "attempt": theirs.attempt, "mark": theirs.mark}
    known |= {"uid": theirs.tenant.uid, "tenant": str(theirs.tenant.pk)}
    for who, ask in askers(prefix, ours):
        assert theirs.mark not in text_of(ask("GET", prefix + path)), who
        for name, values in PARAMETERS.items():
            for value in (known[name] for name in values):
                text = text_of(ask("GET", f"{prefix}{path}?{name}={value}"))
                # What was asked for may be shown again, in a form or a link. Their mark is in everything else of theirs.
                assert value == theirs.mark or theirs.mark not in text, (who, name, value)
                cases += 1
    assert theirs.rows() == before
    tried(cases)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(("prefix", "path"), LISTS, ids=[prefix + path for prefix, path in LISTS])
def test_nothing_that_is_sent_changes_anything_of_anothers(
    prefix: str, path: str, method: str, ours: World, theirs: World, tried: Callable[[int], None]
) -> None:
    uid = theirs.tenant.uid
    sent = {
        "tenant": uid, "tenant_id": str(theirs.tenant.pk), "tenant_uid": uid, "owner": uid, "uid": uid,
        "id": theirs.ids["webhooks"], "webhook": theirs.ids["webhooks"], "endpoint": theirs.ids["webhooks"],
        "event": theirs.ids["events"], "delivery": theirs.ids["deliveries"], "deliveries": [theirs.ids["deliveries"]],
        "events": ["*"], "url": "https://ours.example.com/", "type": "test.happened", "data": {"text": "ours"},
        "idempotency_key": theirs.mark, "role": "manager",
    }  # fmt: skip
    before = theirs.rows()
    for who, ask in askers(prefix, ours):
        for data in ({}, sent):
            assert theirs.mark not in text_of(ask(method, prefix + path, data)).replace(f'"{theirs.mark}"', ""), who
    assert theirs.rows() == before
    tried(4)
