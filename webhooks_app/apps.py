"""The app's entry in INSTALLED_APPS."""

from importlib import import_module

from django.apps import AppConfig
from django.conf import settings
from django.utils.module_loading import autodiscover_modules

from webhooks_app.core.catalogue import registry


class WebhooksConfig(AppConfig):
    name = "webhooks_app"
    label = "webhooks_app"
    verbose_name = "Webhooks"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Event types are declared in each app's `webhooks.py`, found as the admin finds `admin.py`. No database access here.
        autodiscover_modules("webhooks")
        raw = getattr(settings, "WEBHOOKS", None)  # not validated here: the system checks report mistakes
        notifications = raw.get("NOTIFICATIONS") if isinstance(raw, dict) else None
        if isinstance(notifications, dict) and notifications.get("OPERATIONS_TENANT"):
            registry.register(*import_module("webhooks_app.notifications.operational_events").EVENT_TYPES)
        for module in ("checks", "checks_database"):
            import_module(f"webhooks_app.{module}")  # registers the system checks
