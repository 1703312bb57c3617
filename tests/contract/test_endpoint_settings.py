"""A setting of an endpoint is declared once, and every face has it."""

from __future__ import annotations

import pytest

from webhooks_app.admin.endpoint_form import StaffEndpointForm
from webhooks_app.admin.endpoints import EndpointAdmin
from webhooks_app.api.serializers.webhooks import WebhookInputSerializer, WebhookSerializer
from webhooks_app.dashboard.forms.endpoint import EndpointForm
from webhooks_app.endpoints.settings import NAMES, SETTINGS, EndpointSettings, Setting
from webhooks_app.models import Endpoint


def test_the_declaration_and_its_types_are_of_the_same_settings() -> None:
    assert tuple(EndpointSettings.__annotations__) == NAMES


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_face_has_the_setting_under_the_models_label(setting: Setting) -> None:
    name, field = setting.name, setting.field
    label = str(field.verbose_name)
    assert label
    assert field.help_text
    assert str(EndpointForm(types=[]).fields[name].label) == label
    assert str(StaffEndpointForm.base_fields[name].label) == label
    assert name in EndpointAdmin._settings
    for serializer in (WebhookSerializer(), WebhookInputSerializer()):
        assert serializer.fields[name].help_text == str(field.help_text)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_the_default_passes_the_check(setting: Setting) -> None:
    default = getattr(Endpoint(), setting.name)
    assert setting.check(default) == default
