"""Numbered system checks of the database and of the connections to it. All other checks are in `checks.py`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from logging.handlers import DatagramHandler, HTTPHandler, SMTPHandler, SocketHandler
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004 - Django's own word
from django.db import connections
from django.utils.log import AdminEmailHandler

from webhooks_app.checks import TAG, Messages, register_check
from webhooks_app.conf import Settings, settings
from webhooks_app.exceptions import ConfigurationError
from webhooks_app.maintenance.schedule import missing_from_schedule
from webhooks_app.models.database import database_alias
from webhooks_app.models.row_security import HINT, row_security_fault
from webhooks_app.telemetry.beat import BEAT, TASKS, scheduled_in_settings

#: The default `min_size` of a psycopg pool, and the connections of one engine: database thread, heartbeat, signals.
_PSYCOPG_POOL = 4
_ENGINE_CONNECTIONS = 3
#: With fewer it delivers nothing.
_FEWEST_CONNECTIONS = 2
#: Handlers that wait for a server. A DatagramHandler is a SocketHandler, too, but does not wait.
_NETWORK_HANDLERS = (HTTPHandler, SMTPHandler, SocketHandler, AdminEmailHandler)
_MARIADB_LEAST = (10, 6)
_MYSQL_LEAST = (8, 0, 13)
_TRIGGERS_SQL = """
    SELECT tgname, relname
    FROM pg_trigger JOIN pg_class AS table_ ON table_.oid = tgrelid
    WHERE relname = ANY(%s) AND pg_table_is_visible(table_.oid) AND NOT tgisinternal AND tgenabled <> 'D'
    ORDER BY relname, tgname
"""


@register(TAG)
def check_autocommit(app_configs: Sequence[Any] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """E017. Runs even if the settings are invalid."""
    if connections[database_alias()].settings_dict["AUTOCOMMIT"]:
        return []
    hint = "Remove AUTOCOMMIT from this database: without it nothing that the engine records is committed."
    return [Error("AUTOCOMMIT is off for the webhooks' database.", hint=hint, id="webhooks_app.E017")]


@register(TAG)
def check_time_zone(app_configs: Sequence[Any] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """E018. Runs even if the settings are invalid. PostgreSQL stores times with their zone; `USE_TZ = False` is E002."""
    connection = connections[database_alias()]
    if connection.features.supports_timezones or not django_settings.USE_TZ or _is_utc(connection.timezone):
        return []
    return [
        Error(
            f"TIME_ZONE of the webhooks' database is {connection.timezone_name!r}: API keys and secrets expire at the wrong "
            "time, by its difference from UTC.",
            hint="Remove TIME_ZONE from this database in DATABASES. Times that are stored already are read as UTC from then on: "
            "correct them, or begin with empty tables.",
            id="webhooks_app.E018",
        )
    ]


def _is_utc(zone: tzinfo | None) -> bool:
    """Return whether the zone equals UTC under any name, in summer and in winter."""
    year = datetime.now(UTC).year
    return zone is None or not any(datetime(year, month, 1, tzinfo=zone).utcoffset() for month in (1, 7))


@register_check
def check_sqlite(chosen: Settings) -> Messages:
    """W007"""
    database = connections[database_alias()].settings_dict
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
    """W016, E019"""
    options = connections[database_alias()].settings_dict.get("OPTIONS", {}).get("pool")
    if not isinstance(options, dict):
        return
    least = options.get("min_size", _PSYCOPG_POOL)
    size = options.get("max_size") or least  # as psycopg_pool reads it
    if size < _ENGINE_CONNECTIONS:
        delivers = size >= _FEWEST_CONNECTIONS
        yield (Warning if delivers else Error)(
            f"The pool of the webhooks' database has {size} connection(s), and an engine alone uses {_ENGINE_CONNECTIONS}."
            + ("" if delivers else " With one it delivers nothing: its heartbeat has a connection of its own."),
            hint="Set max_size in DATABASES[…]['OPTIONS']['pool'] to at least 4, and more where engines share a process.",
            id="webhooks_app.W016" if delivers else "webhooks_app.E019",
        )


@register_check
def check_pool_logging(chosen: Settings) -> Messages:
    """W018. The threads of a pool are not engine threads, so their log records wait for slow handlers."""
    if not connections[database_alias()].settings_dict.get("OPTIONS", {}).get("pool"):
        return
    logger: logging.Logger | None = logging.getLogger("psycopg.pool")
    while logger is not None:
        for handler in logger.handlers:
            if isinstance(handler, _NETWORK_HANDLERS) and not isinstance(handler, DatagramHandler):
                yield Warning(
                    f"The pool of the webhooks' database logs through {type(handler).__name__}: while that waits for the "
                    "network, engines may get no connection.",
                    hint="Give the logger psycopg.pool handlers of its own and propagate = False, or put a QueueHandler before "
                    "that handler.",
                    id="webhooks_app.W018",
                )
        logger = logger.parent if logger.propagate else None


@register(Tags.database)
def check_database(
    app_configs: Sequence[Any] | None = None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """E018, E020, W009, W010, W019. Queries the database, so it runs only with `check --database` and before migrations."""
    found: list[CheckMessage] = []
    for alias in databases or ():
        found.extend(_check_version(alias))
        found.extend(_check_session_time_zone(alias))
        found.extend(_check_row_security(alias))
        found.extend(_check_triggers(alias))
        found.extend(_check_schedule(alias))
    return found


def _wants_beat() -> bool:
    try:
        return bool(settings().WAKE_FUNCTION)
    except ConfigurationError:
        return False


def _check_version(alias: str) -> Messages:
    connection = connections[alias]
    if connection.vendor != "mysql" or alias != database_alias():
        return
    mariadb = bool(getattr(connection, "mysql_is_mariadb", False))
    version, least = connection.mysql_version, _MARIADB_LEAST if mariadb else _MYSQL_LEAST  # type: ignore[attr-defined]
    if tuple(version) < least:
        yield Warning(
            f"This {'MariaDB' if mariadb else 'MySQL'} is too old: it cannot skip locked rows.",
            hint=f"Use {'MariaDB' if mariadb else 'MySQL'} {'.'.join(map(str, least))} or newer, or PostgreSQL.",
            id="webhooks_app.W009",
        )


def _check_session_time_zone(alias: str) -> Messages:
    """Check the session's time zone: "now" of MySQL and MariaDB is in that zone, by default the server's."""
    if connections[alias].vendor != "mysql" or alias != database_alias():
        return
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT TIMESTAMPDIFF(MINUTE, UTC_TIMESTAMP(), CURRENT_TIMESTAMP())")
        minutes = cursor.fetchone()[0]
    if minutes:
        yield Error(
            f"The sessions of the webhooks' database are not in UTC, but {minutes} minutes off: API keys and secrets expire at "
            "the wrong time.",
            hint="Put `SET time_zone = '+00:00'` into DATABASES[…]['OPTIONS']['init_command'].",
            id="webhooks_app.E018",
        )


def _check_row_security(alias: str) -> Messages:
    if alias != database_alias():
        return
    fault = row_security_fault(alias)
    if fault:
        yield Error(fault, hint=HINT, id="webhooks_app.E020")


def _check_triggers(alias: str) -> Messages:
    """Check for the host's own triggers: they run inside the engine's statements, which write rows of many tenants at once."""
    if connections[alias].vendor != "postgresql" or alias != database_alias():
        return
    tables = [model._meta.db_table for model in apps.get_app_config("webhooks_app").get_models()]
    with connections[alias].cursor() as cursor:
        cursor.execute(_TRIGGERS_SQL, [tables])
        names = [f"{trigger} on {table}" for trigger, table in cursor.fetchall()]
    if names:
        yield Warning(
            f"Tables of webhooks_app have triggers: {', '.join(names)}. What is slow in them delays all tenants' deliveries.",
            hint="Remove them and use the signals of webhooks_app.signals, which run on a thread of their own. If a trigger "
            "only does something quick, put W019 into SILENCED_SYSTEM_CHECKS.",
            id="webhooks_app.W019",
        )


def _check_schedule(alias: str) -> Messages:
    table = f"{BEAT}_periodictask"
    if not apps.is_installed(BEAT) or scheduled_in_settings().issuperset(TASKS) or not _wants_beat():
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
