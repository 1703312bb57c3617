"""Filters belong to the endpoint: they were written to each of its subscriptions, always the same. First the column."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("webhooks_app", "0010_receiving_endpoints")]
    operations = [migrations.AddField("endpoint", "filters", models.JSONField(blank=True, default=dict))]
