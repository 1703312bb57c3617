"""URLs of the sample app."""

from django.urls import path

from project.messaging import views

urlpatterns = [
    path("", views.home, name="home"),
    path("send/", views.send, name="send"),
]
