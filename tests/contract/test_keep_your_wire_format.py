"""The worked examples of the how-to work: an old receiver accepts the first request of the new sender."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.conftest import Configure
from tests.receiver import Receiver
from webhooks_app import emit
from webhooks_app.core import retry
from webhooks_app.core.retry import STANDARD_RULES, DeliveryVerdict, decide, outcome_of_status
from webhooks_app.wire_formats import get_wire_format

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "keep-your-wire-format.md"

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("event_types")]


def module(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A file of the page as a module that can be imported."""
    blocks = re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    [code] = [code for path, code in blocks if path == name.replace(".", "/") + ".py"]
    made = ModuleType(name)
    exec(compile(code, name, "exec"), made.__dict__)
    monkeypatch.setitem(sys.modules, name.split(".")[0], ModuleType(name.split(".")[0]))
    monkeypatch.setitem(sys.modules, name, made)
    return made


class Old:
    """A row of the table that the product had until now."""

    customer = "customer-1"
    events = ("test.happened",)
    secret = "hunter2"

    def __init__(self, url: str) -> None:
        self.url = url


def test_an_old_receiver_accepts_the_new_sender(
    receiver: Receiver, configure: Configure, monkeypatch: pytest.MonkeyPatch, deliver: Any
) -> None:
    module("shop.wire", monkeypatch)
    configure(WIRE_FORMATS={"acme": "shop.wire.ACME"})
    old = Old(receiver.url("/hooks"))
    module("shop.move", monkeypatch).move(old)
    emit("test.happened", {"order": 17}, tenant=old.customer)
    deliver()
    [request] = receiver.requests
    expected = "sha256=" + hmac.new(old.secret.encode(), request.body, hashlib.sha256).hexdigest()
    assert request.headers["x-acme-signature"] == expected
    assert request.headers["x-acme-event"] == "test.happened"
    body = json.loads(request.body)
    assert list(body) == ["event", "sent_at", "payload"]
    assert (body["event"], body["payload"]) == ("test.happened", {"order": 17})


def test_the_retry_policies_do_what_the_page_says(monkeypatch: pytest.MonkeyPatch) -> None:
    retries = module("shop.retries", monkeypatch)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    for status in (400, 410, 429, 451, 503):
        outcome = outcome_of_status(status, 7200)
        assert decide(outcome, 0, now, retries.PROMISED).at == now + timedelta(minutes=1)
        strict = decide(outcome, 0, now, retries.STRICT)
        assert (strict.verdict is DeliveryVerdict.GIVE_UP) == bool(strict.disable) == (status in (410, 451))


def test_the_standard_wire_format_can_be_replaced(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    retries = module("shop.retries", monkeypatch)
    configure(WIRE_FORMATS={"standard": "shop.retries.STANDARD_STRICT"})
    assert get_wire_format("standard") is retries.STANDARD_STRICT
    assert (retries.STANDARD_STRICT.name, retries.STANDARD_STRICT.retry) == ("standard", retries.STRICT)


def test_the_page_lists_the_standard_rules() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| ([0-9, ]+)", PAGE.read_text(), re.MULTILINE)
    documented = {name: frozenset(map(int, re.findall("[0-9]+", statuses))) for name, statuses in rows}
    named = {name: getattr(retry, name) for name in documented}
    assert tuple(named.values()) == STANDARD_RULES
    assert documented == {name: rule.statuses for name, rule in named.items()}
