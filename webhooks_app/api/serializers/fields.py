"""Fields that DRF does not have."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from django.db.models import Model
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from webhooks_app.api.parameters import id_text
from webhooks_app.api.renderers import JSONText
from webhooks_app.models.ids import public_id

#: The most items of a list for which nothing else is said. Lists of names have lower limits of their own, with their own errors.
MOST_ITEMS = 1000
#: The most faults that one response names.
MOST_FAULTS = 20


def help_text(model: type[Model], name: str) -> str:
    """Return the help text of a model's field, which the forms and the admin show, too."""
    return str(getattr(model._meta.get_field(name), "help_text"))  # noqa: B009 - reverse relations have none


@extend_schema_field(OpenApiTypes.STR)
class PublicIdField(serializers.Field):  # type: ignore[type-arg]
    """A UUID as a public id, such as `wh_…`."""

    def __init__(self, prefix: str, **options: Any) -> None:
        super().__init__(read_only=True, **{"help_text": id_text(prefix), **options})
        self.prefix = prefix

    def to_representation(self, value: uuid.UUID) -> str:
        return public_id(self.prefix, value)


@extend_schema_field(OpenApiTypes.ANY)
class AnyField(serializers.JSONField):
    """Any JSON value, including null."""

    def __init__(self, **options: Any) -> None:
        super().__init__(read_only=True, **options)


@extend_schema_field(OpenApiTypes.ANY)
class JSONTextField(serializers.Field):  # type: ignore[type-arg]
    """JSON that is stored as text and returned as JSON."""

    def __init__(self, **options: Any) -> None:
        super().__init__(read_only=True, **options)

    def to_representation(self, value: str) -> JSONText:
        return JSONText(value)


class InputTime(serializers.DateTimeField):
    """A time in a request. In the first or last hours that Python knows it may have no equivalent in UTC."""

    def enforce_timezone(self, value: datetime) -> datetime:
        try:
            return super().enforce_timezone(value)
        except OverflowError:
            self.fail("overflow")


class StrictBoolean(serializers.BooleanField):
    """Accepts only true and false, no texts or numbers."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class InputList(serializers.ListField):
    """A list in a request. DRF checks every item, and collects a fault for each, before it looks at the length: a request of two
    megabytes would cost most of a minute and a gigabyte."""

    def run_child_validation(self, data: Any) -> list[Any]:
        most = MOST_ITEMS if self.max_length is None else self.max_length
        if len(data) > most:
            message = self.error_messages["max_length"].format(max_length=most)
            raise serializers.ValidationError(message, "max_length")
        values: list[Any] = []
        faults: dict[Any, Any] = {}
        for number, item in enumerate(data):
            try:
                values.append(self.child.run_validation(item))
            except serializers.ValidationError as error:
                faults[number] = error.detail
                if len(faults) == MOST_FAULTS:
                    break
        if faults:
            raise serializers.ValidationError(faults)
        return values


class StrictText(serializers.CharField):
    """Accepts only texts, no numbers, and does not trim them."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"trim_whitespace": False, **options})

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)
