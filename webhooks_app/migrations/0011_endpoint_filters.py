"""Filters belong to the endpoint: they were written to each of its subscriptions, always the same."""

from django.db import migrations, models


def move_to_endpoints(apps, schema_editor):
    subscriptions = apps.get_model("webhooks_app", "Subscription").objects.using(schema_editor.connection.alias)
    endpoints = apps.get_model("webhooks_app", "Endpoint").objects.using(schema_editor.connection.alias)
    for row in subscriptions.exclude(filters={}).iterator(chunk_size=100):
        endpoints.filter(pk=row.endpoint_id).update(filters=row.filters)


def move_to_subscriptions(apps, schema_editor):
    subscriptions = apps.get_model("webhooks_app", "Subscription").objects.using(schema_editor.connection.alias)
    endpoints = apps.get_model("webhooks_app", "Endpoint").objects.using(schema_editor.connection.alias)
    for row in endpoints.exclude(filters={}).iterator(chunk_size=100):
        subscriptions.filter(endpoint_id=row.pk).update(filters=row.filters)


class Migration(migrations.Migration):
    dependencies = [("webhooks_app", "0010_receiving_endpoints")]
    operations = [
        migrations.AddField("endpoint", "filters", models.JSONField(blank=True, default=dict)),
        migrations.RunPython(move_to_endpoints, move_to_subscriptions),
        migrations.RemoveField("subscription", "filters"),
    ]
