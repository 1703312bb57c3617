"""The settings of the workers, with a mail server of the test's."""

import os

import django

from tests.faults.worker_settings import *  # noqa: F403

_backend = "django.core.mail.backends.smtp.EmailBackend"
_port = int(os.environ["WEBHOOKS_TEST_SMTP_PORT"])
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": _backend, "OPTIONS": {"host": "127.0.0.1", "port": _port}}}
else:
    EMAIL_BACKEND, EMAIL_HOST, EMAIL_PORT = _backend, "127.0.0.1", _port
