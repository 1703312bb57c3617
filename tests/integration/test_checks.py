"""Every numbered check speaks when it should, and is silent otherwise."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.db import connection

from tests.system_checks import SAFE, ids
from webhooks_app import checks, checks_database
from webhooks_app.core.encryption import new_key


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
        ({"DENIED_NETWORKS": [None, ["10.0.0.0/8"], 5]}, {"E005"}),
        ({"ALLOWED_PORTS": ["443"]}, {"E005"}),
        ({"ALLOWED_PORTS": [443, [80], 70_000]}, {"E005"}),
        ({"ALLOWED_NETWORKS": ["127.0.0.0/8"]}, {"W002"}),
        ({"ALLOWED_NETWORKS": ["::ffff:127.0.0.0/104"]}, {"W002"}),
        ({"ALLOWED_NETWORKS": ["::1/128"]}, {"W002"}),
        ({"ALLOWED_NETWORKS": ["fd00::/8"]}, {"W002"}),
        ({"ALLOWED_NETWORKS": ["0.0.0.0/0"]}, {"W002"}),
        ({"ALLOWED_NETWORKS": ["192.168.7.0/24"]}, {"W002"}),
        ({"ALLOWED_NETWORKS": ["8.8.8.0/24"]}, set()),
        ({"ALLOWED_NETWORKS": ["64:ff9b::/96"]}, set()),
        ({"ALLOWED_NETWORKS": ["64:ff9b::/32"]}, {"W002"}),
        ({"DENIED_NETWORKS": ["10.0.0.0/8"]}, set()),
        ({"ALLOW_HTTP": True}, {"W003"}),
        ({"EGRESS": {"PROXY": "socks5://proxy:1080"}}, {"E001"}),
        ({"EGRESS": {"PROXY": "socks5h://proxy:1080"}}, set()),
        ({"EGRESS": {"PROXY": "http://proxy:3128", "PROXY_RESOLVES_NAMES": True}}, {"W021"}),
        ({"EGRESS": {"PROXY_RESOLVES_NAMES": True}}, set()),
        ({"EGRESS": {"SOURCE_ADDRESSES": ["198.41.0.4", "2606:4700::1"]}}, set()),
        ({"EGRESS": {"SOURCE_ADDRESSES": ["198.41.0.4", "198.41.0.5"]}}, {"E001"}),
        ({"EGRESS": {"SOURCE_ADDRESSES": "198.41.0.4"}}, {"E001"}),
        ({"EGRESS": {"SOURCE_ADDRESSES": ["198.41.0.0/24"]}}, {"E001"}),
        ({"EGRESS": {"SOURCE_ADDRESSES": ["0.0.0.0"]}}, {"E001"}),
        ({"EGRESS": {"SOURCE_ADDRESSES": ["fe80::1%eth0"]}}, {"E001"}),
        ({"EGRESS": {"SOURCE_ADDRESSES": ["eth0"]}}, {"E001"}),
        ({"EGRESS": {"SOURCE_ADDRESSES": [None]}}, {"E001"}),
        ({"DEFAULT_WIRE_FORMAT": "no-such"}, {"E006"}),
        ({"DASHBOARD": {"WIRE_FORMATS": ["standard", "no-such"]}}, {"E006"}),
        ({"DASHBOARD": {"WIRE_FORMATS": [5, ["standard"]]}}, {"E006"}),
        ({"WIRE_FORMATS": {"mine": "no.such.module"}}, {"E006"}),
        ({"WIRE_FORMATS": {"mine": None, 5: "no.such.module"}}, {"E006"}),
        ({"WIRE_FORMATS": {"mine": "webhooks_app.checks.TAG"}}, {"E006"}),
        ({"TRANSPORT": "carrier-pigeon"}, {"E008"}),
        ({"WAKE_FUNCTION": "no.such.function"}, {"E009"}),
        ({"TENANT_UID_FUNCTION": "webhooks_app.checks.TAG"}, {"E009"}),
        ({"PLAN": "no.such.function"}, {"E009"}),
        ({"MONITORING": {"METRICS": ["prometheus", "opentelemetry"]}, "TRACEPARENT": True}, set()),
        ({"MONITORING": {"METRICS": ["statsd"]}}, {"E015"}),
        ({"MONITORING": {"METRICS": "prometheus"}}, {"E001"}),
        ({"MONITORING": {"METRICS": ["prometheus"]}, "TRACEPARENT": True}, {"W015"}),
        ({"API": {"RATE_LIMIT": "many"}}, {"E010"}),
        ({"API": {"RATE_LIMIT": ""}}, set()),
        ({"ENGINE": {"LINGER_SECONDS": 0.1, "HINT_COALESCE_SECONDS": 0.2}}, {"W004"}),
    ],
)
def test_settings_that_are_wrong_or_unsafe(settings, webhooks, expected):
    settings.WEBHOOKS = {**settings.WEBHOOKS, **webhooks}
    assert ids() == expected


@pytest.mark.parametrize("source", ["WIRE_FORMAT = nothing", "WIRE_FORMAT = (", "import sys; sys.exit(3)", "1 / 0"])
def test_a_wire_format_whose_module_fails(settings, tmp_path, monkeypatch, source):
    module = f"checked_wire_format_{abs(hash(source))}"
    (tmp_path / f"{module}.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    settings.WEBHOOKS = {**settings.WEBHOOKS, "WIRE_FORMATS": {"mine": f"{module}.WIRE_FORMAT"}}
    assert ids() == {"E006"}


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
def test_a_time_limit_that_leaves_engines_no_time(settings, name):
    setattr(settings, name, 14)
    assert ids() == {"W005"}
    setattr(settings, name, 15)
    assert ids() == set()


def test_eager_tasks(settings):
    settings.CELERY_TASK_ALWAYS_EAGER = True
    assert ids() == set(), "no hints, so nothing is run eagerly"
    settings.WEBHOOKS = {**settings.WEBHOOKS, "WAKE_FUNCTION": "django.utils.timezone.now"}
    assert ids() == {"W006"}


def test_sqlite_with_a_write_lock_for_every_request(monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "ENGINE", "django.db.backends.sqlite3")
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", {"transaction_mode": "immediate"})
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    assert ids() == {"W007"}
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", False)
    assert ids() == set()


def test_no_beat_schedule_at_all(settings):
    settings.WEBHOOKS = {**settings.WEBHOOKS, "WAKE_FUNCTION": "webhooks_app.tasks.send_hint"}
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_celery_beat"]
    assert ids() == {"W008"}
    (message,) = run_checks(tags=[checks.TAG])
    assert "webhooks_deliver" in str(message.hint)
    names = ("sweep", "repair", "send_notifications", "prune")
    settings.CELERY_BEAT_SCHEDULE = {name: {"task": f"webhooks_app.{name}", "schedule": 60} for name in names}
    assert ids() == set()


def test_an_engine_without_celery_needs_no_beat(settings):
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_celery_beat"]
    settings.WEBHOOKS = {**settings.WEBHOOKS, "WAKE_FUNCTION": ""}
    assert ids() == set()


@pytest.mark.django_db
def test_rows_missing_from_the_beat_tables(settings):
    settings.WEBHOOKS = {**settings.WEBHOOKS, "WAKE_FUNCTION": "webhooks_app.tasks.send_hint"}

    def found() -> list[Any]:
        return [message.id for message in checks_database.check_database(databases=["default"])]

    assert found() == ["webhooks_app.W010"]
    settings.WEBHOOKS = {**settings.WEBHOOKS, "WAKE_FUNCTION": ""}
    assert found() == []
    settings.WEBHOOKS = {**settings.WEBHOOKS, "WAKE_FUNCTION": "webhooks_app.tasks.send_hint"}
    call_command("webhooks_schedule", verbosity=0, stdout=StringIO())
    assert found() == []
    assert checks_database.check_database(databases=None) == []


@pytest.mark.postgres
@pytest.mark.django_db
def test_triggers_on_the_apps_tables_are_named() -> None:
    def found() -> list[str]:
        messages = checks_database.check_database(databases=["default"])
        return [message.msg for message in messages if message.id == "webhooks_app.W019"]

    assert found() == []
    with connection.cursor() as cursor:
        cursor.execute("CREATE FUNCTION nap() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
        cursor.execute("CREATE TRIGGER nap BEFORE INSERT ON webhooks_app_attempt FOR EACH ROW EXECUTE FUNCTION nap()")
        (message,) = found()
        assert "nap on webhooks_app_attempt" in message
        cursor.execute("ALTER TABLE webhooks_app_attempt DISABLE TRIGGER nap")
    assert found() == []


def test_every_message_says_what_to_do(settings):
    settings.DEBUG = False
    settings.USE_TZ = False
    settings.WEBHOOKS = {
        "ENCRYPTION_KEYS": [],
        "ALLOW_HTTP": True,
        "ALLOWED_NETWORKS": ["::1", "x"],
        "DEFAULT_WIRE_FORMAT": "y",
        "ENGINE": {"HEARTBEAT_SECONDS": 1},
        "WAKE_FUNCTION": "z",
        "TRANSPORT": "z",
    }
    messages = run_checks(tags=[checks.TAG])
    assert len({message.id for message in messages}) >= 8
    assert all(message.hint for message in messages)


def test_a_database_without_autocommit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import connection

    monkeypatch.setitem(connection.settings_dict, "AUTOCOMMIT", False)
    assert "webhooks_app.E017" in {message.id for message in run_checks(tags=["webhooks_app"])}


@pytest.mark.parametrize(
    ("backend", "rate", "warns"),
    [
        ("locmem.LocMemCache", "5/minute", True),
        ("locmem.LocMemCache", "", False),
        ("redis.RedisCache", "5/minute", False),
    ],
)
def test_a_cache_that_each_process_has_for_itself(
    settings: Any, configure: Any, backend: str, rate: str, warns: bool
) -> None:
    settings.CACHES = {"default": {"BACKEND": f"django.core.cache.backends.{backend}"}}
    configure(**SAFE, API={"RATE_LIMIT": rate})
    assert ("W020" in ids(include_deployment_checks=True)) is warns
    assert "W020" not in ids()


@pytest.mark.parametrize(("number", "warns"), [(None, True), (0, False), (1, False)])
def test_the_number_of_proxies(settings: Any, configure: Any, number: int | None, warns: bool) -> None:
    settings.REST_FRAMEWORK = {"NUM_PROXIES": number}
    configure(**SAFE, API={"RATE_LIMIT": ""})  # refused keys and links are counted all the same
    assert ("W022" in ids(include_deployment_checks=True)) is warns
    assert "W022" not in ids()
