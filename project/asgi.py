"""The ASGI application: `project.asgi:application`."""

import os

import django

from project.utf8 import ASGIApplication

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
django.setup(set_prefix=False)
application = ASGIApplication()
