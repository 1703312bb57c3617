from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('webhooks_app', '0005_staff'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='auditentry',
            index=models.Index(fields=['tenant', 'target', 'id'], name='webhooks_audit_target'),
        ),
    ]
