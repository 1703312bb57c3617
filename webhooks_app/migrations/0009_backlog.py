"""Notices about the backlog of a paused or disabled endpoint: before deliveries are dropped, and after."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("webhooks_app", "0008_engine")]
    operations = [
        migrations.AddField("notice", "drop_at", models.DateTimeField(null=True)),
        migrations.AlterField(
            "notice",
            "kind",
            models.CharField(
                choices=[
                    ("exhausted", "deliveries given up"),
                    ("disabled", "endpoint disabled"),
                    ("recovered", "endpoint recovered"),
                    ("backlog_expiring", "pending deliveries will be dropped"),
                    ("backlog_dropped", "pending deliveries dropped"),
                ],
                max_length=16,
            ),
        ),
    ]
