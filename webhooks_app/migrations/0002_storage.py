"""How the hot tables are stored. No schema change: on PostgreSQL room for updates within a page and an eager vacuum; on
databases without partial indexes (MySQL, MariaDB), where Django makes them without their condition, better columns."""

from django.db import migrations, models

FILL = {
    "webhooks_app_endpointqueue": 70,
    "webhooks_app_engine": 70,
    "webhooks_app_hourlystat": 80,
}
#: Small tables whose every row is updated all the time: vacuumed after so many changes, whatever their size.
VACUUM_AFTER = {"webhooks_app_endpointqueue": 5000, "webhooks_app_engine": 500}

PLAIN_INDEXES = (
    ("event", models.Index(fields=["fanned_out_at", "id"], name="webhooks_event_pending")),
    ("event", models.Index(fields=["fanned_out_at", "tenant", "id"], name="webhooks_event_pending_of")),
    ("event", models.Index(fields=["tenant", "subject"], name="webhooks_event_subject")),
    ("event", models.Index(fields=["drop_body", "id"], name="webhooks_event_drop")),
    ("delivery", models.Index(fields=["endpoint", "status", "next_attempt_at", "id"], name="webhooks_delivery_due")),
    ("delivery", models.Index(fields=["endpoint", "status", "sequence"], name="webhooks_delivery_fifo")),
)
#: Without their condition these would hold every delivery, be paid for with each new one and be of little use.
PARTIAL_ONLY = ("webhooks_delivery_failed", "webhooks_delivery_failed_at")
#: NULLs do not collide, so this says the same as the partial constraint.
PLAIN_CONSTRAINT = models.UniqueConstraint(fields=["tenant", "idempotency_key"], name="webhooks_event_idempotency")


def _partial_only(apps):
    return [index for index in apps.get_model("webhooks_app", "delivery")._meta.indexes if index.name in PARTIAL_ONLY]


def store(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        for table, factor in FILL.items():
            schema_editor.execute(f"ALTER TABLE {table} SET (fillfactor = {factor})")
        for table, changes in VACUUM_AFTER.items():
            schema_editor.execute(
                f"ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = {changes})"
            )
    if not schema_editor.connection.features.supports_partial_indexes:
        for model, index in PLAIN_INDEXES:
            schema_editor.remove_index(apps.get_model("webhooks_app", model), index)  # by its name
            schema_editor.add_index(apps.get_model("webhooks_app", model), index)
        for index in _partial_only(apps):
            schema_editor.remove_index(apps.get_model("webhooks_app", "delivery"), index)
        schema_editor.add_constraint(apps.get_model("webhooks_app", "event"), PLAIN_CONSTRAINT)


def restore(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        for table in FILL:
            schema_editor.execute(f"ALTER TABLE {table} RESET (fillfactor)")
        for table in VACUUM_AFTER:
            schema_editor.execute(
                f"ALTER TABLE {table} RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold)"
            )
    if not schema_editor.connection.features.supports_partial_indexes:
        for model, index in PLAIN_INDEXES:
            rows = apps.get_model("webhooks_app", model)
            schema_editor.remove_index(rows, index)
            schema_editor.add_index(rows, next(one for one in rows._meta.indexes if one.name == index.name))
        for index in _partial_only(apps):
            schema_editor.add_index(apps.get_model("webhooks_app", "delivery"), index)
        schema_editor.remove_constraint(apps.get_model("webhooks_app", "event"), PLAIN_CONSTRAINT)


class Migration(migrations.Migration):
    dependencies = [("webhooks_app", "0001_initial")]
    # Where DDL can be rolled back, the migration is in a transaction all the same; elsewhere it must be in none.
    operations = [migrations.RunPython(store, restore, atomic=False)]
