"""Removing what a demo left in the tables."""

from collections.abc import Sequence

from django.db import transaction

from webhooks_app import models

#: Rows of one DELETE, below every database's limit of parameters.
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
    """Remove these tenants and all that is theirs. Only for a demo: a product keeps its history until it is pruned."""
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
