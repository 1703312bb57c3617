"""One tenant's key reaches nothing of another's through a dialect, on no route, and learns nothing of it."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from tests.acceptance.dialects import key
from tests.api_routes import Route, dialect_routes
from tests.contract.dialect_shapes import DIALECTS
from webhooks_app.endpoints.numeric_ids import number_endpoints
from webhooks_app.endpoints.service import create_endpoint
from webhooks_app.models import AuditEntry, Endpoint, EndpointNumber, Event, Secret, Tenant

pytestmark = pytest.mark.django_db(transaction=True)

EVERY = [(route, method) for route in dialect_routes() for method in route.methods]
#: Paths with an id in them are asked for another's. The others, and what is asked of each.
WITHOUT_ID = {
    ("gateway", "GET", "/webhooks"): "list",
    ("gateway", "POST", "/webhooks"): "make",
    ("messages-dev", "GET", "/webhooks"): "list",
    ("messages-dev", "POST", "/webhooks"): "make",
    ("messages-dev", "DELETE", "/webhooks"): "id in the body",
    ("msgflash", "GET", "/api/v1/webhooks"): "list",
    ("msgflash", "POST", "/api/v1/webhooks"): "make",
    ("muchaw", "GET", "/api/webhooks"): "list",
    ("muchaw", "POST", "/api/webhooks"): "make",
    ("msgine", "POST", "/api/v1/messages/sms"): "make",
}
WIRE_FORMATS = {"messages-dev": "messages_dev"}


def named(route: Route, method: str) -> tuple[str, str, str]:
    return route.prefix, method, route.path


BY_ID = [
    (route, method) for route, method in EVERY if WITHOUT_ID.get(named(route, method), "<") in ("<", "id in the body")
]
LISTS = [(route, method) for route, method in EVERY if WITHOUT_ID.get(named(route, method)) == "list"]
MAKES = [(route, method) for route, method in EVERY if WITHOUT_ID.get(named(route, method)) == "make"]


def every(routes: list[tuple[Route, str]]) -> Any:
    return pytest.mark.parametrize(
        ("route", "method"), routes, ids=[f"{method} {route.full}" for route, method in routes]
    )


def everything_of(tenant: str) -> list[Any]:
    """All rows that a request could change; the keys that the test makes are none."""
    models = (Endpoint, Secret, Event)
    rows = [list(model.objects.filter(tenant__uid=tenant).order_by("pk").values()) for model in models]
    acts = AuditEntry.objects.filter(tenant__uid=tenant).exclude(verb="api_key.created").order_by("pk")
    return [*rows, list(acts.values())]


def theirs(prefix: str, tenant: str = "theirs") -> Endpoint:
    wire_format = WIRE_FORMATS.get(prefix, prefix)
    return create_endpoint(tenant, url="https://theirs.example.com/", events=["*"], wire_format=wire_format)[0]


def id_of(prefix: str, row: Endpoint) -> str:
    return str(number_endpoints([row])[row.pk]) if prefix == "gateway" else row.public_id


def ask(route: Route, method: str, id_: str, tenant: str = "ours") -> HttpResponse:
    dialect = DIALECTS[route.prefix]
    name, form = dialect.key
    return Client().generic(
        method,
        route.at(id_),
        json.dumps({**dialect.new, "id": id_, "active": False}),
        content_type="application/json",
        headers={name: form.format(key(tenant))},
    )


def test_the_matrix_is_of_every_route() -> None:
    without_id = {named(route, method) for route, method in EVERY if "<" not in route.path}
    assert without_id == set(WITHOUT_ID), "say what is asked of a route that was added"
    assert {route.prefix for route, _ in EVERY} == set(DIALECTS)


@every(BY_ID)
def test_a_webhook_of_anothers_is_like_one_that_there_is_not(route: Route, method: str) -> None:
    row = theirs(route.prefix)
    nobodys = str(EndpointNumber.objects.count() + 1000) if route.prefix == "gateway" else f"wh_{uuid.uuid4().hex}"
    before = everything_of("theirs")
    asked, unknown = ask(route, method, id_of(route.prefix, row)), ask(route, method, nobodys)
    assert (asked.status_code, asked.content) == (unknown.status_code, unknown.content)
    assert asked.status_code == 404
    assert everything_of("theirs") == before
    assert ask(route, method, id_of(route.prefix, row), "theirs").status_code < 300, "or else this shows nothing"


@every(BY_ID)
def test_a_webhook_of_another_products_is_not_there_either(route: Route, method: str) -> None:
    row = theirs("standard", "ours")
    before = everything_of("ours")
    assert ask(route, method, id_of(route.prefix, row)).status_code == 404
    assert everything_of("ours") == before


@every(LISTS)
def test_a_list_has_none_of_anothers(route: Route, method: str) -> None:
    theirs(route.prefix)
    mine = theirs(route.prefix, "ours")
    answer = ask(route, method, "").json()
    listed = answer if isinstance(answer, list) else answer["data"]
    assert [str(one["id"]) for one in listed] in ([id_of(route.prefix, mine)], [str(mine.pk)])


@every(MAKES)
def test_what_is_made_is_the_askers(route: Route, method: str) -> None:
    theirs(route.prefix)
    before = everything_of("theirs")
    for more in ({}, {"tenant": "theirs"}):
        query = "".join(f"?{name}={value}" for name, value in more.items())
        assert ask(Route(route.prefix, route.path + query, ()), method, "").status_code == 201
    assert everything_of("theirs") == before
    assert Endpoint.objects.filter(tenant__uid="ours").exists() or Event.objects.filter(tenant__uid="ours").exists()


@every(MAKES)
def test_an_idempotency_key_of_anothers_tells_nothing(route: Route, method: str) -> None:
    name, form = DIALECTS[route.prefix].key
    answers = [
        Client().post(
            route.at(""),
            DIALECTS[route.prefix].new,
            content_type="application/json",
            headers={name: form.format(key(tenant)), "Idempotency-Key": "a"},
        )
        for tenant in ("theirs", "ours")
    ]
    assert [one.status_code for one in answers] == [201, 201]
    assert "Idempotent-Replayed" not in answers[1].headers
    assert Tenant.objects.count() == 2
