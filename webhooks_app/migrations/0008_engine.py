"""What an engine that shares its room between tenants needs: a queue's tenant, an index of pending events by tenant, and
more about each engine than that it is alive."""

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import OuterRef, Q, Subquery

import webhooks_app.models.times

PENDING = models.Index(
    condition=Q(fanned_out_at__isnull=True), fields=["tenant", "id"], name="webhooks_event_pending_of"
)
#: For databases without partial indexes.
PENDING_PLAIN = models.Index(fields=["fanned_out_at", "tenant", "id"], name="webhooks_event_pending_of")


def _index(schema_editor):
    return PENDING if schema_editor.connection.features.supports_partial_indexes else PENDING_PLAIN


def add_index(apps, schema_editor):
    schema_editor.add_index(apps.get_model("webhooks_app", "event"), _index(schema_editor))


def remove_index(apps, schema_editor):
    schema_editor.remove_index(apps.get_model("webhooks_app", "event"), _index(schema_editor))


def fill_tenants(apps, schema_editor):
    endpoints = apps.get_model("webhooks_app", "endpoint").objects.filter(pk=OuterRef("endpoint_id"))
    queues = apps.get_model("webhooks_app", "endpointqueue").objects.using(schema_editor.connection.alias)
    queues.update(tenant_id=Subquery(endpoints.values("tenant_id")[:1]))


def _now():
    return models.DateTimeField(db_default=webhooks_app.models.times.Now())


class Migration(migrations.Migration):
    dependencies = [("webhooks_app", "0007_failed_deliveries")]
    atomic = False
    operations = [
        migrations.AlterField(
            "endpointqueue",
            "endpoint",
            models.OneToOneField(
                db_constraint=False,
                on_delete=django.db.models.deletion.CASCADE,
                primary_key=True,
                related_name="queue",
                serialize=False,
                to="webhooks_app.endpoint",
            ),
        ),
        migrations.AddField("endpointqueue", "tenant_id", models.UUIDField(editable=False, null=True)),
        migrations.AddField("endpointqueue", "crashed_at", models.DateTimeField(null=True)),
        migrations.AddField("endpointqueue", "recovered_at", models.DateTimeField(null=True)),
        migrations.RunPython(fill_tenants, migrations.RunPython.noop),
        migrations.AlterField("endpointqueue", "tenant_id", models.UUIDField(editable=False)),
        migrations.AddField("engine", "beat_at", _now()),
        migrations.AddField("engine", "database_turn_at", _now()),
        migrations.AddField("engine", "sending_turn_at", _now()),
        migrations.AddField("engine", "in_flight", models.PositiveIntegerField(default=0)),
        migrations.AddField("engine", "unrecorded", models.PositiveIntegerField(default=0)),
        migrations.AddField("engine", "clock_drift", models.FloatField(default=0.0)),
        migrations.AddField("delivery", "crashes", models.PositiveSmallIntegerField(db_default=0, editable=False)),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunPython(add_index, remove_index)],
            state_operations=[migrations.AddIndex("event", PENDING)],
        ),
    ]
