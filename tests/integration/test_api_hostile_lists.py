"""Lists of very many items cost a request nothing, and its response is short."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.api import Program

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("event_types"), pytest.mark.security]

ITEMS = 100_000
NEW = {"url": "https://example.com/hook", "events": ["test.happened"]}


@pytest.fixture
def program() -> Program:
    return Program()


@pytest.mark.parametrize("item", [{}, "x", 1, [], None], ids=str)
@pytest.mark.parametrize(
    ("path", "name", "rest"),
    [
        ("/webhooks", "events", {"url": NEW["url"]}),
        ("/webhooks", "channels", NEW),
        ("/events", "channels", {"type": "test.happened", "data": {}}),
        ("/events/batch", "events", {}),
    ],
)
def test_a_list_of_very_many_items_is_refused_at_once(
    program: Program, path: str, name: str, rest: dict[str, Any], item: object
) -> None:
    body = {**rest, name: [item] * ITEMS}
    began = time.process_time()
    json.loads(json.dumps(body))
    read = time.process_time() - began
    began = time.process_time()
    answer = program("post", path, body)
    spent = time.process_time() - began
    assert answer.status_code == 400
    assert len(answer.content) < 10_000
    assert spent < 20 * read, "checking each item costs hundreds of times as much as reading it"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/gateway/webhooks", {"url": NEW["url"], "events": [{}] * ITEMS}),
        ("/messages-dev/webhooks", {"url": NEW["url"], "from": "1", "events": [{}] * ITEMS}),
        ("/msgflash/api/v1/webhooks", {"url": NEW["url"], "events": [{}] * ITEMS}),
        ("/muchaw/api/webhooks", {"url": NEW["url"], "events": ["*"], "numberIds": [{}] * ITEMS}),
    ],
)
def test_other_apis_name_few_faults(path: str, body: dict[str, Any]) -> None:
    answer = Program(root="")("post", path, body)
    assert answer.status_code in (400, 422)
    assert len(answer.content) < 10_000


def test_faults_are_named_up_to_a_number(program: Program) -> None:
    answer = program("post", "/webhooks", {**NEW, "events": [{}] * 900})
    assert answer.status_code == 400
    assert [fault["field"] for fault in answer.json()["errors"]] == [f"events.{number}" for number in range(20)]
