"""The admin's page of the app: where support begins."""

from __future__ import annotations

import re

import pytest
from django.urls import path, reverse

from tests.integration.test_admin_pages import LEAN
from tests.staff import pages, staff, superuser, text_of, viewer
from webhooks_app.templatetags.webhooks_admin import GROUPS

pytestmark = pytest.mark.django_db

urlpatterns = [path("admin/", LEAN.urls)]


def index() -> str:
    return reverse("admin:app_list", args=("webhooks_app",))


def models_in(text: str) -> list[str]:
    return re.findall(r'<th scope="row" id="webhooks_app-(\w+)"', text)


def test_what_support_is_asked_for_comes_first_and_what_is_inside_last():
    text = text_of(superuser(), index())
    names = models_in(text)
    assert names[:5] == ["delivery", "event", "endpoint", "tenant", "attempt"]
    assert len(names) == len(set(names)) == 18
    assert text.index("The works inside") < text.index('id="webhooks_app-endpointqueue"')
    assert text.index("The works inside") > text.index('id="webhooks_app-auditentry"')


def test_every_model_has_a_place():
    from django.contrib import admin

    registered = {model._meta.object_name for model in admin.site._registry if model._meta.app_label == "webhooks_app"}
    assert {name for _heading, names in GROUPS for name in names} == registered


def test_a_search_by_whatever_is_in_hand_is_the_first_thing():
    text = text_of(viewer(), index())
    [form] = re.findall(r'<form[^>]*role="search".*?</form>', text, re.DOTALL)
    assert f'action="{pages("delivery")}"' in form
    assert 'name="q"' in form
    assert "any id" in form.lower()
    assert 'role="search"' not in text_of(staff("view_tenant"), index())


def test_a_host_with_fewer_pages_has_them_in_the_same_order(settings):
    settings.ROOT_URLCONF = __name__
    assert models_in(text_of(superuser(), index())) == ["delivery", "event", "attempt"]
