"""The host's way of sending e-mail, for tests."""

from __future__ import annotations

from typing import Any

from django.core import mail


def send_through(settings: Any, backend: str) -> None:
    """Make this the host's e-mail backend, in the way of the Django that is installed."""
    if hasattr(mail, "mailers"):
        settings.MAILERS = {"default": {"BACKEND": backend}}
    else:
        settings.EMAIL_BACKEND = backend


def send_by_smtp(settings: Any, port: int, **options: Any) -> None:
    """Make Django's own SMTP backend the host's."""
    backend = "django.core.mail.backends.smtp.EmailBackend"
    if hasattr(mail, "mailers"):
        options = {"host": "127.0.0.1", "port": port, **options}
        settings.MAILERS = {"default": {"BACKEND": backend, "OPTIONS": options}}
    else:
        settings.EMAIL_BACKEND, settings.EMAIL_HOST, settings.EMAIL_PORT = backend, "127.0.0.1", port
        settings.EMAIL_TIMEOUT = options.get("timeout")
