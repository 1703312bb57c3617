"""Filters move from subscriptions to endpoints; no lock on a table is held meanwhile."""

from django.db import migrations


def move_to_endpoints(apps, schema_editor):
    alias = schema_editor.connection.alias
    subscriptions = apps.get_model("webhooks_app", "Subscription").objects.using(alias)
    endpoints = apps.get_model("webhooks_app", "Endpoint").objects.using(alias)
    moved = None
    for row in list(subscriptions.exclude(filters={}).order_by("endpoint_id").values_list("endpoint_id", "id")):
        if row[0] != moved:
            moved = row[0]
            endpoints.filter(pk=moved).update(filters=subscriptions.get(pk=row[1]).filters)


def move_to_subscriptions(apps, schema_editor):
    alias = schema_editor.connection.alias
    subscriptions = apps.get_model("webhooks_app", "Subscription").objects.using(alias)
    endpoints = apps.get_model("webhooks_app", "Endpoint").objects.using(alias)
    for key in list(endpoints.exclude(filters={}).values_list("pk", flat=True)):
        subscriptions.filter(endpoint_id=key).update(filters=endpoints.get(pk=key).filters)


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("webhooks_app", "0011_endpoint_filters")]
    operations = [migrations.RunPython(move_to_endpoints, move_to_subscriptions)]
