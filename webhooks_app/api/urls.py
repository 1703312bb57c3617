"""The standard API. Mount it where you like: `path("api/v1/", include("webhooks_app.api.urls"))`. No trailing slashes."""

from django.urls import include, path
from rest_framework.routers import SimpleRouter

from webhooks_app.api.views.deliveries import DeliveryViewSet
from webhooks_app.api.views.events import EventViewSet
from webhooks_app.api.views.others import AccountSecretView, EgressView, EventTypesView, PortalLinksView
from webhooks_app.api.views.webhooks import WebhookViewSet

app_name = "webhooks_api"

router = SimpleRouter(trailing_slash=False)
router.register("webhooks", WebhookViewSet, basename="webhook")
router.register("events", EventViewSet, basename="event")
router.register("deliveries", DeliveryViewSet, basename="delivery")

urlpatterns = [
    path("event-types", EventTypesView.as_view(), name="event-types"),
    path("portal-links", PortalLinksView.as_view(), name="portal-links"),
    path("account-secret", AccountSecretView.as_view(), name="account-secret"),
    path("egress", EgressView.as_view(), name="egress"),
    path("", include(router.urls)),
]
