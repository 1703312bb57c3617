"""A host that keeps the app's tables in a database of their own, with replicas for reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, connections
from django.db.models import Model
from django.test import override_settings

#: The alias of the app's database.
APP_DATABASE = "webhooks"


class Router:
    """Writes of the app's rows go to APP_DATABASE. Reads go elsewhere: a replica would be behind, here it is always empty."""

    def db_for_write(self, model: type[Model], **hints: Any) -> str | None:
        return APP_DATABASE if model._meta.app_label == "webhooks_app" else None

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        return "default" if model._meta.app_label == "webhooks_app" else None

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return app_label == "webhooks_app" if db == APP_DATABASE else None  # elsewhere the tables stay, and stay empty


@pytest.fixture(scope="module")
def app_database(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Put the app's tables into APP_DATABASE, for all tests of a module; these name it in `django_db(databases=…)`."""
    place = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(tmp_path_factory.mktemp("apart") / "app.sqlite3"),
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
    }
    connections.databases[APP_DATABASE] = {**connection.settings_dict, **place}
    with django_db_blocker.unblock(), override_settings(DATABASE_ROUTERS=["tests.apart.Router"]):
        call_command("migrate", database=APP_DATABASE, verbosity=0)
        yield
        connections[APP_DATABASE].close()
    del connections[APP_DATABASE], connections.databases[APP_DATABASE]


@pytest.fixture
def strays(app_database: None, db: None) -> Iterator[list[str]]:
    """The statements so far that used the app's tables in the default database all the same: there should be none."""
    found: list[str] = []

    def note(execute: Any, sql: str, *args: Any) -> Any:
        if "webhooks_app_" in sql:
            found.append(sql)
        return execute(sql, *args)

    with connection.execute_wrapper(note):
        yield found
