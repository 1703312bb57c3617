"""The Celery application: `celery -A project worker`, `celery -A project beat`."""

import os

from celery import Celery

from project import broker  # noqa: F401 - registers `folders://`

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

app = Celery("project")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
