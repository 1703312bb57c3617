"""The WSGI application: `project.wsgi:application`."""

import os

import django

from project.utf8 import WSGIApplication

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
django.setup(set_prefix=False)
application = WSGIApplication()
