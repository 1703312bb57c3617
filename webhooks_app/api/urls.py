"""URLs of the standard API. Mount it anywhere: `path("api/v1/", include("webhooks_app.api.urls"))`. No trailing slashes.

If nothing else is below the prefix, use `webhooks_app.api.urls_with_fallback.include_api`: unknown paths then get errors in
the API's format too.
"""

from django.urls import include, path
from rest_framework.routers import SimpleRouter

from webhooks_app.api.views.account import AccountSecretView, EgressView, EventTypesView, PortalLinksView
from webhooks_app.api.views.base import NoSuchPath
from webhooks_app.api.views.deliveries import DeliveryViewSet
from webhooks_app.api.views.events import EventViewSet
from webhooks_app.api.views.webhooks import WebhookViewSet

app_name = "webhooks_api"
#: For `webhooks_app.api.urls_with_fallback`.
NoSuchPathView = NoSuchPath

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
