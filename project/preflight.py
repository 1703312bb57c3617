"""`python -m project.preflight`: check that the demo can start. Prints one line to stderr and exits with 1 if not."""

import os
import sys

import django
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection
from kombu.transport import get_transport_cls


def main() -> str:
    """Return the problem; empty if there is none."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    try:
        django.setup()
        connection.ensure_connection()
    except ImproperlyConfigured as error:
        return str(error)
    except DatabaseError as error:
        return f"The database does not answer (DATABASE_URL): {' '.join(str(error).split())}"
    return _broker()


def _broker() -> str:
    from django.conf import settings

    scheme = settings.CELERY_BROKER_URL.partition("://")[0]
    try:
        get_transport_cls(scheme)
    except KeyError:
        return f"CELERY_BROKER_URL: there is no broker {scheme!r}. Write redis://… or amqp://…"
    except ImportError as error:
        return f"CELERY_BROKER_URL: the client for {scheme!r} is not installed ({error})."
    return ""


if __name__ == "__main__":
    sys.exit(main() or 0)
