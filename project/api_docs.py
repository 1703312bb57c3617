"""The OpenAPI description and its page, `/api/docs`, which loads nothing from other hosts."""

from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.urls import path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from project.security import WITH_INLINE_STYLES


class Docs(SpectacularSwaggerSplitView):
    """Swagger UI, whose script comes in a response of its own instead of inline."""

    http_method_names = ["get", "head"]  # Django REST framework has no page for OPTIONS here

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = super().dispatch(request, *args, **kwargs)
        response.headers["Content-Security-Policy"] = WITH_INLINE_STYLES
        return response


urlpatterns = [
    path("schema", SpectacularAPIView.as_view(urlconf="project.api_urls"), name="api-schema"),
    path("docs", Docs.as_view(url_name="api-schema"), name="api-docs"),
]
