"""An index of the endpoints that may get an event: fan-out walked those that were deleted, too."""

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("webhooks_app", "0009_backlog")]
    operations = [
        migrations.AddIndex(
            "endpoint",
            models.Index(
                fields=["tenant", "id"],
                condition=Q(status__in=["active", "paused"], hidden=False),
                name="webhooks_endpoint_receiving",
            ),
        ),
    ]
