"""The worked example of the how-to works: an old receiver accepts the first request of the new sender."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.conftest import Configure
from tests.receiver import Receiver
from webhooks_app import emit

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
