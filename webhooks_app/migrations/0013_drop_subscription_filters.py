"""Filters of subscriptions: nothing reads them any more."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("webhooks_app", "0012_move_filters")]
    operations = [migrations.RemoveField("subscription", "filters")]
