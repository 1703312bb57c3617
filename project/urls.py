"""URLs of the runnable project."""

from django.contrib import admin
from django.contrib.auth import views as auth
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView

from webhooks_app.api import include_api


class Icon(RedirectView):
    """Redirect to the icon. Browsers request this URL for pages that name no icon, such as the admin's."""

    def get_redirect_url(self, *args: object, **kwargs: object) -> str:
        return static("site.svg")


urlpatterns = [
    path("favicon.ico", Icon.as_view()),
    path("admin/", admin.site.urls),
    path("login/", auth.LoginView.as_view(template_name="login.html", redirect_authenticated_user=True), name="login"),
    path("logout/", auth.LogoutView.as_view(), name="logout"),
    path("webhooks/", include("webhooks_app.urls")),
    path("api/v1/", include_api("webhooks_app.api.urls")),
    path("api/", include("project.api_docs")),
    path("", include("webhooks_app.monitoring.urls")),  # /healthz, /readyz and /metrics
    # Other products' documented APIs, each below its own prefix.
    path("msgine/", include_api("project.messaging.sms_api")),
    path("gateway/", include_api("webhooks_app.contrib.gateway.api")),
    path("messages-dev/", include_api("webhooks_app.contrib.messages_dev.api")),
    path("msgflash/", include_api("webhooks_app.contrib.msgflash.api")),
    path("muchaw/", include_api("webhooks_app.contrib.muchaw.api")),
    path("", include("project.messaging.urls")),
]
