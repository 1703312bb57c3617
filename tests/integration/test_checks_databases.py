"""The numbered checks of a database's settings."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from logging.handlers import DatagramHandler, SocketHandler
from unittest import mock

import pytest
from django.db import connection, connections
from django.utils import timezone
from django.utils.log import AdminEmailHandler

from tests.system_checks import SAFE, ids
from webhooks_app.models import ApiKey, Scope
from webhooks_app.tenants.api_keys import create_api_key


@pytest.fixture(autouse=True)
def _production(settings):
    settings.DEBUG = False
    settings.WEBHOOKS = {**settings.WEBHOOKS, **SAFE}


@contextmanager
def in_time_zone(zone: str | None) -> Iterator[None]:
    """The database has this TIME_ZONE. A connection keeps what it has read of it."""
    default = connections["default"]
    with mock.patch.dict(default.settings_dict, TIME_ZONE=zone), mock.patch.dict(vars(default)):
        for name in ("timezone", "timezone_name"):
            vars(default).pop(name, None)
        yield


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        (None, set()),
        ("UTC", set()),
        ("Etc/UTC", set()),
        ("Europe/London", {"E018"}),
        ("America/Sao_Paulo", {"E018"}),
    ],
)
def test_a_database_whose_time_zone_is_not_utc(zone, expected):
    harmless = connection.vendor == "postgresql"  # which stores times with their zone
    with in_time_zone(zone):
        assert ids() == (set() if harmless else expected)


@pytest.mark.skipif(connection.vendor == "postgresql", reason="stores times with their zone")
@pytest.mark.django_db
def test_that_time_zone_shifts_what_expires():
    """Why it is an error, and no warning."""
    hour, now = timedelta(hours=1), timezone.now()
    for zone, usable in ((None, False), ("Asia/Tokyo", True)):
        with in_time_zone(zone):
            key, _ = create_api_key("acme", name="", scopes=tuple(Scope.values), expires_at=now + hour, actor="test")
            ApiKey.objects.filter(pk=key.pk).update(expires_at=now - hour)
            assert ApiKey.objects.filter(pk=key.pk).usable().exists() is usable


@pytest.mark.parametrize("name", ["psycopg.pool", "psycopg"])
@pytest.mark.parametrize(
    ("handler", "pool", "expected"),
    [
        (SocketHandler("127.0.0.1", 1), True, {"W018"}),
        (AdminEmailHandler(), True, {"W018"}),
        (DatagramHandler("127.0.0.1", 1), True, set()),
        (logging.StreamHandler(), True, set()),
        (SocketHandler("127.0.0.1", 1), False, set()),
    ],
)
def test_a_pool_that_logs_over_the_network(monkeypatch, name, handler, pool, expected):
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", {"pool": pool})
    monkeypatch.setattr(logging.getLogger(name), "handlers", [handler])
    assert ids() == expected


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        (True, set()),
        ({"min_size": 4, "max_size": 8}, set()),
        ({"min_size": 4}, set()),
        ({"max_size": 3, "min_size": 1}, set()),
        ({"max_size": 2, "min_size": 1}, {"W016"}),
        ({"min_size": 1}, {"E019"}),
    ],
)
def test_a_pool_that_is_too_small_for_an_engine(monkeypatch, pool, expected):
    options = connection.settings_dict["OPTIONS"]
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", {**options, "pool": pool})
    assert ids() == expected
