"""The customers' pages. Mount them where you like: `path("webhooks/", include("webhooks_app.urls"))`."""

from django.urls import path

from webhooks_app.dashboard import pages

app_name = "webhooks_app"

urlpatterns = [
    path("", pages.home, name="home"),
    path("portal/<str:token>", pages.portal, name="portal"),
]
