"""The URLs of the dashboard. Include them under any path: `path("webhooks/", include("webhooks_app.urls"))`.

Each module of `dashboard.pages` defines its URL patterns in `paths`.
"""

from __future__ import annotations

import re
from importlib import import_module
from pkgutil import iter_modules

from django.urls import URLPattern

from webhooks_app.dashboard import pages

app_name = "webhooks_app"


def _paths() -> list[URLPattern]:
    modules = (import_module(f"{pages.__name__}.{found.name}") for found in iter_modules(pages.__path__))
    return sorted((each for module in modules for each in module.paths), key=_names_before_parameters)


def _names_before_parameters(pattern: URLPattern) -> str:
    """Return a sort key that puts `deliveries/retry` before `deliveries/<id>`, which would match it, too."""
    return re.sub("<[^>]*>", "~", str(pattern.pattern))


urlpatterns = _paths()
