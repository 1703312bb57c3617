"""Mount these where your monitoring looks: `path("", include("webhooks_app.monitoring.urls"))`."""

from django.urls import path

from webhooks_app.monitoring.views import healthz, metrics, readyz

app_name = "webhooks_monitoring"

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
]
