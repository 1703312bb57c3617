"""A runnable Django project with `webhooks_app`, and its demo."""

from project.celery import app as celery_app

__all__ = ["celery_app"]
