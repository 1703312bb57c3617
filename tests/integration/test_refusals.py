"""Keys and links that are not accepted: they are counted, noted, and once there are many of them, not even looked up."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests import api
from tests.api import ROOT, Program
from webhooks_app import process_log
from webhooks_app.models import ApiKey, AuditEntry, Scope
from webhooks_app.tenants import refusals
from webhooks_app.tenants.api_keys import create_api_key, revoke_api_key
from webhooks_app.tenants.portal import create_portal_link
from webhooks_app.tenants.refusals import MOST

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("event_types")]
no_counts = api.no_counts


def ask(text: str, sender: str = "198.51.100.7") -> Any:
    return Client(REMOTE_ADDR=sender).get(f"{ROOT}/egress", headers={"X-API-Key": text})


def refused() -> list[tuple[str, str]]:
    """Verb and reason of the audit log's refusals."""
    entries = AuditEntry.objects.filter(verb__endswith=".refused").order_by("id")
    return [(entry.verb, entry.detail["reason"]) for entry in entries]


def test_many_unknown_keys_are_not_looked_up() -> None:
    mine = Program()
    assert ask(mine.text).status_code == 200
    for number in range(MOST):
        assert ask(f"wk_guess_{number}").status_code == 401
    with CaptureQueriesContext(connection) as queries:
        response = ask("wk_one_more")
    assert (response.status_code, response.json()["code"]) == (429, "TOO_MANY_REQUESTS")
    assert 0 < int(response["Retry-After"]) <= 61
    assert not queries.captured_queries
    assert ask(mine.text).status_code == 200, "a key that was accepted lately is not concerned"
    assert ask("wk_one_more", "203.0.113.9").status_code == 401, "nor is another sender"


def test_one_wrong_key_again_and_again_is_looked_up_once(caplog: Any) -> None:
    process_log.reset()
    with caplog.at_level(logging.WARNING):
        assert ask("wk_wrong").status_code == 401
        with CaptureQueriesContext(connection) as queries:
            for _ in range(2 * MOST):
                assert ask("wk_wrong").status_code == 401
    assert not queries.captured_queries
    assert ask("wk_another_one").status_code == 401
    assert "an API key from 198.51.100.7 is not accepted" in caplog.text
    assert "wk_wrong" not in caplog.text


@pytest.mark.parametrize("reason", ["revoked", "expired"])
def test_a_key_that_is_over_is_noted_once(reason: str) -> None:
    key, text = create_api_key("acme", expires_at=timezone.now() + timedelta(hours=1))
    if reason == "revoked":
        revoke_api_key(key)
    else:
        ApiKey.objects.update(expires_at=timezone.now() - timedelta(hours=1))
    for _ in range(3):
        assert ask(text).status_code == 401
    assert refused() == [("api_key.refused", reason)]
    entry = AuditEntry.objects.get(verb="api_key.refused")
    assert (entry.tenant_id, entry.actor, entry.target) == (key.tenant_id, f"key:{key.public_id}", key.public_id)


def test_a_scope_that_is_missing_is_noted_once_and_counts_for_the_rate(configure: Any) -> None:
    configure(API={"RATE_LIMIT": "3/hour"})
    program = Program(scopes=[Scope.EVENTS_WRITE.value])
    for _ in range(3):
        assert program.refused("get", "/webhooks")[:2] == (403, "FORBIDDEN")
    assert program.refused("get", "/webhooks")[:2] == (429, "TOO_MANY_REQUESTS")
    assert refused() == [("api_key.refused", "no scope webhooks:read")]


def test_requests_without_a_key_count_for_the_rate(configure: Any) -> None:
    configure(API={"RATE_LIMIT": "2/hour"})
    assert [Client().get(f"{ROOT}/webhooks").status_code for _ in range(3)] == [401, 401, 429]


def test_links_that_are_not_accepted() -> None:
    path, (_link, token) = "/webhooks/portal/", create_portal_link("acme")
    assert Client().post(path + token).status_code == 302
    for _ in range(2):
        assert Client().post(path + token).status_code == 410
    assert refused() == [("portal_link.refused", "used")]
    for number in range(MOST):
        Client().post(f"{path}guess{number}")
    with CaptureQueriesContext(connection) as queries:
        response = Client().post(f"{path}another")
    assert response.status_code == 429
    assert response["Retry-After"]
    assert not [query for query in queries.captured_queries if "portallink" in query["sql"]]


@pytest.mark.parametrize("cache", ["db.DatabaseCache", "filebased.FileBasedCache", "locmem.LocMemCache"])
def test_each_period_begins_anew_in_any_cache(settings: Any, tmp_path: Any, monkeypatch: Any, cache: str) -> None:
    location = {"db.DatabaseCache": "webhooks_test_cache", "filebased.FileBasedCache": str(tmp_path)}.get(
        cache, "periods"
    )
    settings.CACHES = {
        "default": {"BACKEND": f"django.core.cache.backends.{cache}", "LOCATION": location, "TIMEOUT": None}
    }
    if cache == "db.DatabaseCache":
        call_command("createcachetable")
    period = int(time.time() // refusals.PERIOD)
    for later in range(3):
        monkeypatch.setattr(time, "time", lambda later=later: (period + later) * refusals.PERIOD + 1)
        assert not refusals.must_wait("wk_new", "198.51.100.7")
        for number in range(MOST):
            refusals.refuse_api_key(f"wk_{later}_{number}", "198.51.100.7")
        assert refusals.must_wait("wk_new", "198.51.100.7")


def test_addresses_of_one_ipv6_network_are_one_sender() -> None:
    for number in range(MOST):
        assert ask(f"wk_guess_{number}", f"2001:db8:1:2::{number:x}").status_code == 401
    assert ask("wk_one_more", "2001:db8:1:2:ffff::1").status_code == 429
    assert ask("wk_one_more", "2001:db8:1:3::1").status_code == 401
    assert ask("wk_one_more", "::ffff:198.51.100.8").status_code == 401
