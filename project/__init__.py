"""A runnable Django project around `webhooks_app`, and the demo of it."""

from project.celery import app as celery_app

__all__ = ["celery_app"]
