"""What `manage.py check` says about the app."""

from __future__ import annotations

from typing import Any

from django.core.checks import run_checks

from webhooks_app import checks

#: Settings about which no check complains in production.
SAFE = {"ALLOW_HTTP": False, "ALLOWED_NETWORKS": [], "ALLOWED_PORTS": [443, 80]}


def ids(**kwargs: Any) -> set[str]:
    """The ids of the messages, without the app's name."""
    found = {message.id for message in run_checks(tags=[checks.TAG], **kwargs)}
    return {name.removeprefix("webhooks_app.") for name in found}
