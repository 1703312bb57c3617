"""Mount an API below a prefix that it has for itself."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from django.urls import include, re_path
from django.views.decorators.common import no_append_slash


def include_api(module: str) -> Any:
    """Include an API below a prefix that nothing else uses: `path("api/v1/", include_api("webhooks_app.api.urls"))`.

    Works like Django's `include`. The module's `NoSuchPathView` handles unknown paths, in the API's own format and without
    redirects. Below a prefix with other pages use `include`: this function would hide the URLs that come after it.
    """
    api = import_module(module)
    patterns = [*api.urlpatterns, re_path("", no_append_slash(api.NoSuchPathView.as_view()))]
    name = getattr(api, "app_name", None)
    return include((patterns, name) if name else patterns)
