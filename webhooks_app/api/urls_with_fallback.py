"""Mounting an API below a prefix that is its own."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from django.urls import include, re_path
from django.views.decorators.common import no_append_slash


def include_api(module: str) -> Any:
    """As Django's `include`, for a prefix below which nothing else is: `path("api/v1/", alone("webhooks_app.api.urls"))`.

    What none of the API's paths matches is then answered by the module's `NoSuchPathView`, in the API's own form, and
    nothing is redirected. Below a prefix that other pages share, `include` it: this would hide those that come later.
    """
    api = import_module(module)
    patterns = [*api.urlpatterns, re_path("", no_append_slash(api.NoSuchPathView.as_view()))]
    name = getattr(api, "app_name", None)
    return include((patterns, name) if name else patterns)
