"""Every numbered check speaks when it should, and is silent otherwise."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.db import connection

from webhooks_app import checks
from webhooks_app.core.sealing import new_key

SAFE = {"ALLOW_HTTP": False, "ALLOWED_NETWORKS": [], "ALLOWED_PORTS": [443, 80]}


def ids(**kwargs: Any) -> set[str]:
    found = {message.id for message in run_checks(tags=[checks.TAG], **kwargs)}
    return {name.removeprefix("webhooks_app.") for name in found}


@pytest.fixture(autouse=True)
def _production(settings):
    settings.DEBUG = False
    settings.WEBHOOKS = {**settings.WEBHOOKS, **SAFE}


def test_a_safe_configuration_gives_no_message():
    assert ids() == set()


@pytest.mark.parametrize(
    ("webhooks", "expected"),
    [
        ({"RETENTON_DAYS": 3}, {"E001"}),
        ({"RETENTION_DAYS": "x"}, {"E001"}),
        ({"ENCRYPTION_KEYS": []}, {"E003"}),
        ({"ENCRYPTION_KEYS": ["too short"]}, {"E004"}),
        ({"ENCRYPTION_KEYS": [new_key(), new_key()]}, set()),
        ({"ALLOWED_NETWORKS": ["10.0.0.0/40"]}, {"E005"}),
        ({"DENIED_NETWORKS": ["example.com"]}, {"E005"}),
        ({"ALLOWED_NETWORKS": ["127.0.0.0/8"]}, {"W002"}),
        ({"ALLOWED_NETWORKS": ["::1/128"]}, {"W002"}),
        ({"ALLOWED_NETWORKS": ["fd00::/8"]}, {"W002"}),
        ({"ALLOWED_NETWORKS": ["0.0.0.0/0"]}, {"W002"}),
        ({"ALLOWED_NETWORKS": ["192.168.7.0/24"]}, {"W002"}),
        ({"ALLOWED_NETWORKS": ["8.8.8.0/24"]}, set()),
        ({"DENIED_NETWORKS": ["10.0.0.0/8"]}, set()),
        ({"ALLOW_HTTP": True}, {"W003"}),
        ({"DEFAULT_PROFILE": "no-such"}, {"E006"}),
        ({"DASHBOARD_PROFILES": ["standard", "no-such"]}, {"E006"}),
        ({"PROFILES": {"mine": "no.such.module"}}, {"E006"}),
        ({"PROFILES": {"mine": "webhooks_app.checks.TAG"}}, {"E006"}),
        ({"HEARTBEAT_SECONDS": 15}, {"E007"}),
        ({"TRANSPORT": "carrier-pigeon"}, {"E008"}),
        ({"WAKE": "no.such.function"}, {"E009"}),
        ({"TENANT_UID": "webhooks_app.checks.TAG"}, {"E009"}),
        ({"PLAN": "no.such.function"}, {"E009"}),
        ({"API_RATE": "many"}, {"E010"}),
        ({"API_RATE": ""}, set()),
        ({"LINGER_SECONDS": 0.1, "HINT_COALESCE_SECONDS": 0.2}, {"W004"}),
    ],
)
def test_settings_that_are_wrong_or_unsafe(settings, webhooks, expected):
    settings.WEBHOOKS = {**settings.WEBHOOKS, **webhooks}
    assert ids() == expected


def test_what_is_unsafe_in_production_is_fine_in_debug(settings):
    settings.DEBUG = True
    settings.WEBHOOKS = {**settings.WEBHOOKS, "ALLOW_HTTP": True, "ALLOWED_NETWORKS": ["127.0.0.0/8"]}
    assert ids() == set()
    settings.WEBHOOKS = {**settings.WEBHOOKS, "ENCRYPTION_KEYS": []}
    assert ids() == {"W001"}


def test_curl_without_pycurl(settings, monkeypatch):
    monkeypatch.setattr(checks.importlib.util, "find_spec", lambda name: None)
    settings.WEBHOOKS = {**settings.WEBHOOKS, "TRANSPORT": "curl"}
    assert ids() == {"E008"}
    settings.WEBHOOKS = {**settings.WEBHOOKS, "TRANSPORT": "auto"}
    assert ids() == set()


def test_naive_times(settings):
    settings.USE_TZ = False
    assert ids() == {"E002"}


@pytest.mark.parametrize("name", ["CELERY_TASK_TIME_LIMIT", "CELERY_TASK_SOFT_TIME_LIMIT"])
def test_a_time_limit_that_would_kill_engines(settings, name):
    settings.WEBHOOKS = {**settings.WEBHOOKS, "DELIVER_SECONDS": 60.0}
    setattr(settings, name, 60)
    assert ids() == {"W005"}
    setattr(settings, name, 120)
    assert ids() == set()


def test_eager_tasks(settings):
    settings.CELERY_TASK_ALWAYS_EAGER = True
    assert ids() == set(), "no hints, so nothing is run eagerly"
    settings.WEBHOOKS = {**settings.WEBHOOKS, "WAKE": "django.utils.timezone.now"}
    assert ids() == {"W006"}


def test_sqlite_with_a_write_lock_for_every_request(monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "ENGINE", "django.db.backends.sqlite3")
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", {"transaction_mode": "immediate"})
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    assert ids() == {"W007"}
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", False)
    assert ids() == set()


def test_no_beat_schedule_at_all(settings):
    settings.WEBHOOKS = {**settings.WEBHOOKS, "WAKE": "webhooks_app.tasks.send_hint"}
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_celery_beat"]
    assert ids() == {"W008"}
    (message,) = run_checks(tags=[checks.TAG])
    assert "webhooks_deliver" in str(message.hint)
    names = ("sweep", "repair", "tell", "prune")
    settings.CELERY_BEAT_SCHEDULE = {name: {"task": f"webhooks_app.{name}", "schedule": 60} for name in names}
    assert ids() == set()


def test_an_engine_without_celery_needs_no_beat(settings):
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_celery_beat"]
    settings.WEBHOOKS = {**settings.WEBHOOKS, "WAKE": ""}
    assert ids() == set()


@pytest.mark.django_db
def test_rows_missing_from_the_beat_tables(settings):
    settings.WEBHOOKS = {**settings.WEBHOOKS, "WAKE": "webhooks_app.tasks.send_hint"}

    def found() -> list[Any]:
        return [message.id for message in checks.check_database(databases=["default"])]

    assert found() == ["webhooks_app.W010"]
    settings.WEBHOOKS = {**settings.WEBHOOKS, "WAKE": ""}
    assert found() == []
    settings.WEBHOOKS = {**settings.WEBHOOKS, "WAKE": "webhooks_app.tasks.send_hint"}
    call_command("webhooks_schedule", verbosity=0, stdout=StringIO())
    assert found() == []
    assert checks.check_database(databases=None) == []


def test_every_message_says_what_to_do(settings):
    settings.DEBUG = False
    settings.USE_TZ = False
    settings.WEBHOOKS = {
        "ENCRYPTION_KEYS": [],
        "ALLOW_HTTP": True,
        "ALLOWED_NETWORKS": ["::1", "x"],
        "DEFAULT_PROFILE": "y",
        "HEARTBEAT_SECONDS": 1,
        "WAKE": "z",
        "TRANSPORT": "z",
    }
    messages = run_checks(tags=[checks.TAG])
    assert len({message.id for message in messages}) >= 8
    assert all(message.hint for message in messages)
