"""Remove a demo's rows from the tables."""

from collections.abc import Sequence

from django.db import transaction

from webhooks_app import models

#: Rows per DELETE, below the parameter limit of every database.
BATCH = 500
OF_A_TENANT = (
    models.Attempt,
    models.Delivery,
    models.EventChannel,
    models.Event,
    models.Notification,
    models.AuditEntry,
    models.Secret,
)


def remove_tenants(uids: Sequence[str]) -> None:
    """Remove these tenants and everything that belongs to them. Only for a demo: a product keeps its history until pruned."""
    ids = [models.Tenant.id_for(uid) for uid in uids]
    for start in range(0, len(ids), BATCH):
        chosen = ids[start : start + BATCH]
        with transaction.atomic():
            endpoints = models.Endpoint.objects.filter(tenant__in=chosen)
            models.HourlyStat.objects.filter(endpoint__in=endpoints.values("pk")).delete()
            models.EndpointQueue.objects.filter(endpoint__in=endpoints.values("pk")).delete()
            for model in OF_A_TENANT:
                model._base_manager.filter(tenant__in=chosen).delete()
            models.Subscription.objects.filter(endpoint__in=endpoints.values("pk")).delete()
            endpoints.delete()
            models.Tenant.objects.filter(pk__in=chosen).delete()
