"""The URLs in the OpenAPI description: the standard API alone."""

from django.urls import include, path

urlpatterns = [path("api/v1/", include("webhooks_app.api.urls"))]
