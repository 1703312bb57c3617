"""The database of the app's tables. The host's routers (DATABASE_ROUTERS) choose it; reads and writes use the same one."""

from __future__ import annotations

from typing import Any, TypeVar

from django.apps import apps
from django.db import models, router

Row = TypeVar("Row", bound=models.Model)


def database_alias() -> str:
    """Return the alias of the app's database, to which the host's routers send writes of events."""
    return _alias({})


def _alias(hints: dict[str, Any]) -> str:
    return router.db_for_write(apps.get_model("webhooks_app", "Event"), **hints)


class AppQuerySet(models.QuerySet[Row]):
    """A mixin that uses the app's database unless `using()` names another one.

    Django would ask the routers for the database of reads, which may be a replica that is behind. As with Django's, objects
    related to a row come from that row's database where no router has an opinion. For these, each model names its manager
    in `base_manager_name`.
    """

    @property
    def db(self) -> str:
        chosen: str | None = self._db  # type: ignore[attr-defined]
        return chosen or _alias(self._hints)  # type: ignore[attr-defined]
