"""The admin's pages: there for every model, closed to those without a permission, read-only where the app writes."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.contrib import admin
from django.urls import path, reverse

from tests.factories import EndpointFactory
from tests.staff import one_of_everything, page, pages, staff, superuser, text_of, viewer
from webhooks_app.admin import AttemptAdmin, DeliveryAdmin, EventAdmin
from webhooks_app.models import Attempt, Delivery, Event

pytestmark = pytest.mark.django_db

MODELS = [model._meta.model_name for model in apps.get_app_config("webhooks_app").get_models()]
#: What people may add by hand; everything else the app writes.
ADDED = {"tenant", "endpoint", "eventtype", "apikey"}


def test_every_model_has_its_page():
    assert {model._meta.model_name for model in admin.site._registry if model._meta.app_label == "webhooks_app"} == set(
        MODELS
    )


def test_one_row_of_every_model_is_looked_at():
    assert {row._meta.model_name for row in one_of_everything()} == set(MODELS)


def test_every_page_of_every_model_opens():
    client = superuser()
    for row in one_of_everything():
        for url in (pages(row._meta.model_name), page(row), page(row, "history")):
            assert client.get(url).status_code == 200, url
        assert client.get(pages(row._meta.model_name), {"q": "customer"}).status_code == 200


def test_viewers_see_every_page_and_change_none():
    client = viewer()
    for row in one_of_everything():
        name = row._meta.model_name
        assert client.get(pages(name)).status_code == 200, name
        assert client.get(page(row)).status_code == 200, name
        assert client.get(pages(name, "add")).status_code == 403, name
        assert client.post(page(row), {"name": "changed"}).status_code == 403, name
        assert client.get(page(row, "delete")).status_code == 403, name


def test_staff_without_a_permission_sees_nothing():
    client = staff()
    for row in one_of_everything():
        assert client.get(pages(row._meta.model_name)).status_code == 403
        assert client.get(page(row)).status_code == 403
    assert "webhooks_app" not in text_of(client, reverse("admin:index"))


def test_what_the_app_writes_not_even_superusers_change():
    client = superuser()
    for row in one_of_everything():
        name = row._meta.model_name
        assert client.get(pages(name, "add")).status_code == (200 if name in ADDED else 403), name
        if name not in ("tenant", "endpoint", "eventtype"):
            assert client.post(page(row), {"status": "succeeded"}).status_code == 403, name
        if name != "eventtype":
            assert client.post(page(row, "delete"), {"post": "yes"}).status_code == 403, name
    assert 'name="action"' not in text_of(client, pages("attempt"))


def test_a_page_can_be_asked_for_by_public_id():
    client, endpoint = superuser(), EndpointFactory()
    assert client.get(reverse("admin:webhooks_app_endpoint_change", args=(endpoint.public_id,))).status_code == 200


def test_an_id_that_is_nobodys_leads_back_and_not_to_an_error():
    client = superuser()
    for name in MODELS:
        for key in ("nonsense", "dlv_1", "00000000-0000-0000-0000-000000000000"):
            response = client.get(reverse(f"admin:webhooks_app_{name}_change", args=(key,)))
            assert response.status_code == 302, (name, key)
    for name in ("endpoint", "delivery", "event", "apikey"):
        url = reverse(f"admin:webhooks_app_{name}_action", args=("nonsense", "replay"))
        assert client.get(url).status_code == 404


def test_filters_that_no_index_answers_are_refused():
    client = superuser()
    for name, filters in (
        ("attempt", "status=500"),
        ("delivery", "last_status=500"),
        ("event", "type=a"),
        ("event", "data=a"),
    ):
        assert client.get(f"{pages(name)}?{filters}").status_code in (302, 400), name


def test_no_database_stumbles_over_a_filter_with_a_nul():
    client = superuser()
    for name, column in (
        ("auditentry", "target"),
        ("delivery", "tenant"),
        ("endpoint", "status"),
        ("tenant", "webhooks_enabled"),
    ):
        for query in (f"{column}__exact=%00", f"{column}__exact=%00&{column}__exact=a", "made=%00", "p=%00", "q=%00"):
            response = client.get(f"{pages(name)}?{query}", follow=True)
            assert response.status_code == 200, (name, query)
    for model, field in (("apikey", "tenant"), ("endpoint", "tenant")):
        fits = {"app_label": "webhooks_app", "model_name": model, "field_name": field}
        response = client.get(reverse("admin:autocomplete"), {**fits, "term": "a\x00"})
        assert response.status_code == 200, model


@pytest.mark.parametrize(
    "query",
    [
        "made=nonsense",
        "made=2026-02-31",
        "made=9999-12-31",
        "made=0001-01-01",
        "status=nonsense",
        "tenant__exact=nonsense",
        "p=99999",
    ],
)
def test_nonsense_in_a_url_is_no_error(query):
    response = superuser().get(f"{pages('delivery')}?{query}")
    assert response.status_code in (200, 302)


def test_pages_ask_for_no_script_and_no_style_of_our_own():
    """A strict Content-Security-Policy forbids them."""
    client = superuser()
    for row in one_of_everything():
        for url in (pages(row._meta.model_name), page(row)):
            text = text_of(client, url)
            assert "style=" not in text, url
            assert "onclick=" not in text, url
    text = text_of(client, reverse("admin:webhooks_app_operations"))
    assert "<style" not in text
    assert "style=" not in text


def test_a_host_can_take_pages_away(settings):
    """The pages that are left lead nowhere that is gone."""
    settings.ROOT_URLCONF = __name__
    client = superuser()
    rows = [row for row in one_of_everything() if type(row) in (Delivery, Event, Attempt)]
    assert len(rows) == 3
    for row in rows:
        assert client.get(page(row)).status_code == 200
        assert "/tenant/" not in text_of(client, pages(row._meta.model_name))


LEAN = admin.AdminSite(name="admin")
for model, page_class in ((Delivery, DeliveryAdmin), (Event, EventAdmin), (Attempt, AttemptAdmin)):
    LEAN.register(model, page_class)
urlpatterns = [path("admin/", LEAN.urls)]
