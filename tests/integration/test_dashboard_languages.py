"""The customers' pages in the languages that the app has translations for."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from babel.messages.pofile import read_po
from django.core import mail
from django.test import Client
from django.urls import reverse
from django.utils import translation

import webhooks_app
from tests.api import Program
from tests.factories import AttemptFactory, DeliveryFactory, EndpointFactory, NotificationFactory
from tests.forms import endpoint_values
from tests.integration.test_dashboard_frame import OPEN
from tests.visitors import visiting
from webhooks_app.models import Delivery, DeliveryStatus, Tenant
from webhooks_app.notifications.send import send_notifications
from webhooks_app.playground.service import open_playground
from webhooks_app.tenants.api_keys import create_api_key
from webhooks_app.urls import urlpatterns

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("visitors", "event_types")]

LOCALE = Path(webhooks_app.__file__).parent / "locale"
LANGUAGES = {"fr": "fr", "pt-br": "pt_BR"}
_INVISIBLE = re.compile(r"<(script|pre|code)\b.*?</\1>|<[^>]*>", re.DOTALL)


@pytest.fixture(autouse=True)
def _language_of_later_tests():
    """The last request's language stays active in this thread: e-mails of a later test would be in French."""
    yield
    translation.deactivate()


def reading(tenant: Tenant, language: str) -> Client:
    return visiting(tenant, headers={"Accept-Language": language})


def shown(page: str) -> str:
    """What of a page can be read, and the attributes that are read out."""
    heard = re.findall(r'(?:aria-label|placeholder|title|data-copied|data-title)="([^"]+)"', page)
    return unescape(" ".join([_INVISIBLE.sub(" | ", page), *heard]))


def english_and_other(language: str) -> dict[str, str]:
    """Texts of several words, and what they are in the language."""
    with (LOCALE / LANGUAGES[language] / "LC_MESSAGES" / "django.po").open("rb") as file:
        messages = [message for message in read_po(file) if isinstance(message.id, str) and "%" not in message.id]
    return {message.id: message.string for message in messages if message.id.count(" ") > 1}


@pytest.fixture
def delivery() -> Delivery:
    """Failed for good, of a tenant that has one of everything."""
    row = DeliveryFactory(status=DeliveryStatus.EXHAUSTED, attempts=1, last_outcome="server_error", last_status=500)
    AttemptFactory(delivery=row, duration_ms=1400)
    EndpointFactory(tenant=row.tenant, status="disabled", status_reason="failures")
    EndpointFactory(tenant=row.tenant, status="paused", rate_limit=5, metadata={"a": 1})
    open_playground(row.tenant)
    return row


def every_address(row: Delivery) -> list[str]:
    """Of each page about one thing, that about the delivery, its event, its endpoint, or a key of its tenant's."""
    key, _text = create_api_key(row.tenant, name="CI", scopes=["events:write"])
    ids = {"delivery": row, "event": row.event, "endpoint": row.endpoint, "key": key}
    found = []
    for place in urlpatterns:
        if place.name in OPEN:
            continue
        named = {"name": "message.sent", "key": row.attempt_rows.get().pk.hex}
        about = next((one for prefix, one in ids.items() if prefix in str(place.name).split("_")), None)
        named["public_id"] = about.public_id if about else ""
        values = {name: named[name] for name in place.pattern.converters}
        found.append(reverse(f"webhooks_app:{place.name}", kwargs=values))
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_is_in_the_readers_language(language: str, delivery: Delivery) -> None:
    client, texts, read = reading(delivery.tenant, language), english_and_other(language), 0
    for address in every_address(delivery):
        answer = client.get(address)
        if answer.status_code != 200 or "text/html" not in answer["Content-Type"]:
            continue
        page = answer.content.decode()
        assert f'<html lang="{language}">' in page or "<html" not in page
        visible = shown(page)
        assert [text for text, other in texts.items() if text in visible and text not in other] == [], address
        read += 1
    assert read > 20


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("fr", ["Livraisons", "Types d’événements", "Clés d’API", "Ajouter un webhook", "désactivé", "en pause"]),
        ("pt-br", ["Entregas", "Tipos de eventos", "Chaves de API", "Adicionar webhook", "desativado", "pausado"]),
        ("en", ["Deliveries", "Event types", "API keys", "Add webhook", "disabled", "paused"]),
        ("de", ["Deliveries", "Event types", "API keys", "Add webhook", "disabled", "paused"]),
    ],
)
def test_navigation_buttons_and_states(language: str, words: list[str], delivery: Delivery) -> None:
    page = shown(reading(delivery.tenant, language).get("/webhooks/").content.decode())
    assert [word for word in words if word not in page] == []


@pytest.mark.parametrize(
    ("language", "refusal", "explanation", "took"),
    [
        ("fr", "Ce port n’est pas autorisé. Ports autorisés : 443.", "Votre serveur a échoué", "1,4 s"),
        ("pt-br", "Esta porta não é permitida. Portas permitidas: 443.", "Seu servidor falhou", "1,4 s"),
        ("en", "This port is not allowed. Allowed ports: 443.", "Your server failed", "1.4 s"),
    ],
)
def test_what_is_refused_and_what_failed(
    language: str, refusal: str, explanation: str, took: str, delivery: Delivery, configure: Any
) -> None:
    configure(ALLOWED_PORTS=[443], ALLOWED_NETWORKS=[])
    client = reading(delivery.tenant, language)
    values = endpoint_values(client, url="https://example.com:8443/hook")
    answer = client.post("/webhooks/endpoints/new", values)
    assert answer.status_code == 422
    assert refusal.replace("\u00a0", " ") in shown(answer.content.decode()).replace("\u00a0", " ")
    page = shown(client.get(reverse("webhooks_app:delivery", args=[delivery.public_id])).content.decode())
    assert explanation in page
    assert took in page


def test_the_api_speaks_english_whatever_is_asked_for() -> None:
    program = Program()
    answer = program("post", "/webhooks", {"url": "https://user@example.com", "events": ["*"]}, Accept_Language="fr")
    assert answer.json()["detail"].startswith("The URL must not contain a user name")
    assert answer["Content-Language"] == "en"
    assert "This field is required." in program("post", "/webhooks", {}, Accept_Language="fr").content.decode()


@pytest.mark.parametrize(
    ("language", "subject", "text"),
    [
        ("fr", "Des webhooks n’ont pas pu être livrés", "2 livraisons ont été abandonnées"),
        ("pt-br", "Webhooks não puderam ser entregues", "2 entregas foram abandonadas"),
    ],
)
def test_a_letter_is_in_the_language_of_the_project(language: str, subject: str, text: str) -> None:
    NotificationFactory(count=2)
    with translation.override(language):  # as LANGUAGE_CODE does where there is no request
        send_notifications()
    assert mail.outbox[0].subject == subject
    assert text in mail.outbox[0].body
