"""The sample app's entry in INSTALLED_APPS."""

from django.apps import AppConfig


class MessagingConfig(AppConfig):
    name = "project.messaging"
    label = "messaging"
    verbose_name = "Messaging (sample app)"
