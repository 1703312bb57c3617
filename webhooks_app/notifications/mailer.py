"""Connect to the mail server of the host, which may never respond."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from django.core import mail
from django.core.mail.backends.base import BaseEmailBackend
from django.db import connections

logger = logging.getLogger(__name__)

#: Seconds that one step of the mail connection may take, if the host has set no timeout.
_MAIL_TIMEOUT = 10.0
#: Seconds between checks whether the process stops, while a run waits for the mail server.
_LOOK_AGAIN = 0.25
#: The thread that connects to the mail server, or was the last to do so.
_connecting: threading.Thread | None = None


def open_mailer(stopping: Callable[[], bool]) -> BaseEmailBackend | None:
    """Return the host's default mailer, connected; None if it cannot be reached, or not before `stopping`.

    Connects on a thread of its own: a silent mail server must not keep a worker from stopping. While one such thread hangs, no
    further one is started.
    """
    global _connecting
    if _connecting is not None:
        _connecting.join(_LOOK_AGAIN)
        if _connecting.is_alive():
            logger.error("webhooks: an earlier run still waits for the mail backend to connect. Give it a timeout")
            return None
    opened: list[BaseEmailBackend] = []

    def connect() -> None:
        try:
            post = _mailer()
            if getattr(post, "timeout", 0) is None:
                post.timeout = _MAIL_TIMEOUT  # type: ignore[attr-defined]  # as in Django's SMTP backend
            post.open()
            opened.append(post)
        except Exception:  # mail backends are plugins and raise anything
            logger.exception("webhooks: the mail server cannot be reached")
        finally:
            connections.close_all()  # this thread's own: some backends write to the database

    thread = _connecting = threading.Thread(target=connect, name="webhooks-mail", daemon=True)
    thread.start()
    thread.join(_LOOK_AGAIN)
    while thread.is_alive() and not stopping():
        thread.join(_LOOK_AGAIN)
    return opened[0] if opened else None


def _mailer() -> BaseEmailBackend:
    """Return the host's default mailer: one of its mailers (Django 6.1 and later), else the only connection."""
    mailers: Any = getattr(mail, "mailers", None)
    return mail.get_connection() if mailers is None else mailers.default
