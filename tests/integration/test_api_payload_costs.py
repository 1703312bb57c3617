"""Large and deeply nested payloads cost a request no more than to copy their text."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.api import Program
from tests.factories import EventFactory
from webhooks_app.models import Event

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("event_types"), pytest.mark.security]

NESTED = "[" * 10 + "]" * 10
PAYLOAD = f'{{"x":[{",".join([NESTED] * 11_000)}]}}'


@pytest.fixture
def program() -> Program:
    return Program()


@pytest.fixture
def many(program: Program) -> int:
    for _ in range(20):
        EventFactory(tenant=program.tenant, type="test.happened", data=PAYLOAD, size=len(PAYLOAD))
    return 20


def test_a_page_of_events_is_not_parsed(program: Program, many: int) -> None:
    began = time.process_time()
    parsed = [json.loads(PAYLOAD) for _ in range(many)]
    parsing = time.process_time() - began
    began = time.process_time()
    answer = program("get", f"/events?limit={many}")
    assert time.process_time() - began < parsing
    assert [event["data"] for event in answer.json()["results"]] == parsed


@pytest.mark.parametrize("accept", ["application/json; indent=8", "*/*; indent=8"])
def test_no_client_makes_it_longer(program: Program, many: int, accept: str) -> None:
    answer = program("get", "/events?limit=1", Accept=accept)
    assert len(answer.content) < 2 * len(PAYLOAD)


def test_the_browsable_page_does_not_either(program: Program, many: int) -> None:
    answer = program("get", "/events?limit=1", Accept="text/html")
    assert answer.status_code == 200
    assert len(answer.content) < 10 * len(PAYLOAD)  # the page writes quotes as &quot;


def test_the_browsable_page_shows_short_payloads_indented(program: Program) -> None:
    program.post("/events", {"type": "test.happened", "data": {"who": "\u00e4", "list": [1]}})
    page = program("get", "/events", Accept="text/html").content.decode()
    assert "&quot;data&quot;: {\n" in page
    assert "&quot;who&quot;: &quot;\u00e4&quot;" in page


def test_payloads_are_those_that_were_sent(program: Program) -> None:
    data = {"text": '"quoted" \u2028 \u00e4 \U0001f600', "number": 1.50, "none": None, "mark": "data", "deep": [[{}]]}
    sent = program.post("/events", {"type": "test.happened", "data": data}, Idempotency_Key="k")
    again = program("post", "/events", {"type": "test.happened", "data": data}, Idempotency_Key="k")
    assert sent["data"] == data == again.json()["data"]
    assert program.get(f"/events/{sent['id']}")["data"] == data


def test_a_lone_surrogate_beside_a_payload(program: Program) -> None:
    """It has no form in UTF-8, so the whole response is written again."""
    for data in ({"a": "\ud800"}, {"b": "\u00e4"}):
        program.post("/events", {"type": "test.happened", "data": data})
    assert [one["data"] for one in program.get("/events")["results"]] == [{"b": "\u00e4"}, {"a": "\ud800"}]


@pytest.mark.parametrize("key", ["", "k"])
def test_no_depth_is_an_error_of_the_server(program: Program, key: str) -> None:
    """The items of a batch are checked deeper in the stack than the body is parsed."""
    headers = {"X-API-Key": program.text, **({"Idempotency-Key": key} if key else {})}
    for depth in range(860, 1000, 1):
        data = "[" * depth + "]" * depth
        body = f'{{"events":[{{"type":"test.happened","data":{data}}}]}}'
        answer = program.client.post("/api/v1/events/batch", body, content_type="application/json", headers=headers)
        assert answer.status_code == 400, depth
    assert not Event.objects.exists()


@pytest.mark.parametrize(
    ("zone", "moment"), [("America/Sao_Paulo", "9999-12-31T23:59:59"), ("Asia/Tokyo", "0001-01-01T00:00:00")]
)
def test_times_that_have_no_utc(program: Program, settings: Any, zone: str, moment: str) -> None:
    settings.TIME_ZONE = zone
    new = {"type": "test.happened", "data": {}}
    assert program.refused("post", "/events", {**new, "occurred_at": moment})[::2] == (400, "occurred_at")
    made = program.post("/webhooks", {"url": "https://example.com/hook", "events": ["test.happened"]})
    assert program.refused("post", f"/webhooks/{made['id']}/recover", {"since": moment})[::2] == (400, "since")


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1969-12-31T23:59:59Z"])
def test_events_happen_in_years_that_every_page_can_show(program: Program, moment: str) -> None:
    refused = program.refused("post", "/events", {"type": "test.happened", "data": {}, "occurred_at": moment})
    assert refused[::2] == (400, "occurred_at")
