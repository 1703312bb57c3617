"""NUL characters, which PostgreSQL stores in no text, are the client's error wherever they are."""

from __future__ import annotations

from typing import Any

import pytest

from tests import api
from tests.api import Program

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("event_types")]
no_counts = api.no_counts

URL = "https://example.com/"
PARAMETERS = (
    "type", "channel", "subject", "status", "cursor", "limit", "endpoint", "event", "since", "until", "outcome",
    "idempotency_key", "unknown",
)  # fmt: skip


@pytest.mark.parametrize("path", ["/deliveries", "/events", "/webhooks", "/event-types"])
@pytest.mark.parametrize("name", PARAMETERS)
def test_in_a_parameter(path: str, name: str) -> None:
    program = Program()
    assert program.refused("get", f"{path}?{name}=a%00")[0] == 400


@pytest.mark.parametrize("path", ["/webhooks/%00", "/events/%00", "/deliveries/%00", "/webhooks/wh_%00/stats"])
def test_in_a_path(path: str) -> None:
    assert Program().refused("get", path)[0] == 404


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("/webhooks", {"url": f"{URL}\0"}),
        ("/webhooks", {"url": URL, "description": "\0"}),
        ("/webhooks", {"url": URL, "event_types": ["\0"]}),
        ("/webhooks", {"url": URL, "channels": ["\0"]}),
        ("/webhooks", {"url": URL, "headers": {"a": "\0"}}),
        ("/webhooks", {"url": URL, "filters": {"data.\0": 1}}),
        ("/events", {"type": "\0", "data": {}}),
        ("/events", {"type": "test.happened", "data": {}, "subject": "\0"}),
        ("/events", {"type": "test.happened", "data": {}, "channels": ["\0"]}),
        ("/events", {"type": "test.happened", "data": {}, "idempotency_key": "\0"}),
        ("/deliveries/retry?type=%00", {}),
        ("/deliveries/retry?channel=%00", {}),
    ],
)
def test_in_a_body(path: str, data: dict[str, Any]) -> None:
    assert Program().refused("post", path, data)[0] == 400


def test_in_a_key() -> None:
    assert Program().refused("get", "/webhooks", X_API_Key="a\0")[0] == 401


def test_in_an_events_data_is_kept() -> None:
    program = Program()
    event = program.post("/events", {"type": "test.happened", "data": {"a": "b\0c"}})
    assert program.get(f"/events/{event['id']}")["data"] == {"a": "b\0c"}
