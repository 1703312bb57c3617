"""Numbered system checks of the database and of the connections to it. All other checks are in `checks.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004 - Django's own word
from django.db import connections

from webhooks_app.actions.schedule import BEAT, missing_from_schedule
from webhooks_app.checks import TAG, Messages, register_check, scheduled_in_settings
from webhooks_app.conf import Settings, settings
from webhooks_app.db import pipeline_alias
from webhooks_app.exceptions import ConfigurationError

#: `min_size` of a psycopg pool by default, and the connections of one engine: database thread, heartbeat, signals.
_PSYCOPG_POOL = 4
_ENGINE_CONNECTIONS = 3
_MARIADB_LEAST = (10, 6)
_MYSQL_LEAST = (8, 0, 13)


@register(TAG)
def check_autocommit(app_configs: Sequence[Any] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """E017. Runs whatever the settings are."""
    if connections[pipeline_alias()].settings_dict["AUTOCOMMIT"]:
        return []
    hint = "Remove AUTOCOMMIT from this database: without it nothing that the engine records is committed."
    return [Error("AUTOCOMMIT is off for the webhooks' database.", hint=hint, id="webhooks_app.E017")]


@register_check
def check_sqlite(chosen: Settings) -> Messages:
    """W007"""
    database = connections[pipeline_alias()].settings_dict
    immediate = str(database.get("OPTIONS", {}).get("transaction_mode", "")).upper() == "IMMEDIATE"
    if database["ENGINE"].endswith("sqlite3") and immediate and database.get("ATOMIC_REQUESTS"):
        yield Warning(
            "SQLite with transaction_mode IMMEDIATE and ATOMIC_REQUESTS: every request, reading ones too, takes the "
            "write lock and keeps deliveries waiting.",
            hint="Turn ATOMIC_REQUESTS off, or use PostgreSQL.",
            id="webhooks_app.W007",
        )


@register_check
def check_pool(chosen: Settings) -> Messages:
    """W016"""
    options = connections[pipeline_alias()].settings_dict.get("OPTIONS", {}).get("pool")
    if not isinstance(options, dict):
        return
    least = options.get("min_size", _PSYCOPG_POOL)
    size = options.get("max_size") or least  # as psycopg_pool reads it
    if size < _ENGINE_CONNECTIONS:
        yield Warning(
            f"The pool of the webhooks' database has {size} connection(s), and an engine alone uses {_ENGINE_CONNECTIONS}.",
            hint="Set max_size in DATABASES[…]['OPTIONS']['pool'] to at least 4, and more where engines share a process.",
            id="webhooks_app.W016",
        )


@register(Tags.database)
def check_database(
    app_configs: Sequence[Any] | None = None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """W009, W010. Asks the database, so it runs with `check --database` and before migrations only."""
    found: list[CheckMessage] = []
    for alias in databases or ():
        found.extend(_check_version(alias))
        found.extend(_check_schedule(alias))
    return found


def _wants_beat() -> bool:
    try:
        return bool(settings().WAKE)
    except ConfigurationError:
        return False


def _check_version(alias: str) -> Messages:
    connection = connections[alias]
    if connection.vendor != "mysql" or alias != pipeline_alias():
        return
    mariadb = bool(getattr(connection, "mysql_is_mariadb", False))
    version, least = connection.mysql_version, _MARIADB_LEAST if mariadb else _MYSQL_LEAST  # type: ignore[attr-defined]
    if tuple(version) < least:
        yield Warning(
            f"This {'MariaDB' if mariadb else 'MySQL'} is too old: it cannot skip locked rows.",
            hint=f"Use {'MariaDB' if mariadb else 'MySQL'} {'.'.join(map(str, least))} or newer, or PostgreSQL.",
            id="webhooks_app.W009",
        )


def _check_schedule(alias: str) -> Messages:
    table = f"{BEAT}_periodictask"
    if not apps.is_installed(BEAT) or scheduled_in_settings() or not _wants_beat():
        return
    if table not in connections[alias].introspection.table_names():
        return
    missing = missing_from_schedule(alias)
    if missing:
        yield Warning(
            f"Not in the beat schedule: {', '.join(missing)}.",
            hint="Run `manage.py webhooks_schedule`.",
            id="webhooks_app.W010",
        )
