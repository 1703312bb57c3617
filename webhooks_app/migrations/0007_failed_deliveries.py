"""Indexes of the deliveries that were given up or cancelled. Without their condition they would hold every delivery, be paid
for with each new one and be of little use beside those that are there: databases without partial indexes get none."""

from django.db import migrations, models

_FAILED = models.Q(status__in=("exhausted", "cancelled"))
INDEXES = (
    models.Index(condition=_FAILED, fields=["tenant", "status", "id"], name="webhooks_delivery_failed"),
    models.Index(condition=_FAILED, fields=["endpoint", "status", "id"], name="webhooks_delivery_failed_at"),
)


def add(apps, schema_editor):
    if schema_editor.connection.features.supports_partial_indexes:
        for index in INDEXES:
            schema_editor.add_index(apps.get_model("webhooks_app", "delivery"), index)


def remove(apps, schema_editor):
    if schema_editor.connection.features.supports_partial_indexes:
        for index in INDEXES:
            schema_editor.remove_index(apps.get_model("webhooks_app", "delivery"), index)


class Migration(migrations.Migration):
    dependencies = [("webhooks_app", "0006_audit_target")]
    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunPython(add, remove, atomic=False)],
            state_operations=[migrations.AddIndex("delivery", index) for index in INDEXES],
        ),
    ]
