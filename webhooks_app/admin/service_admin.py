"""Forms that save through a service function and show its error beside the field that it names. And fields for such forms."""

from __future__ import annotations

import json
from functools import partial
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.forms.fields import InvalidJSONInput
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters

from webhooks_app.admin.base import StaffAdmin
from webhooks_app.admin.row_actions import staff_message
from webhooks_app.db import in_fresh_transaction
from webhooks_app.exceptions import WebhooksError
from webhooks_app.tracebacks import hidden_locals


class ServiceForm(forms.ModelForm):  # type: ignore[type-arg]
    """A form that shows the error of a service function.

    `refusal`: the error for these values. `fields_of`: maps the service's field names to those of the form. Form fields
    declared without a label or a help text use those of the model.
    """

    refusal: ClassVar[WebhooksError | None] = None
    fields_of: ClassVar[dict[str, str]] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self._meta.model._meta.fields:
            shown = self.fields.get(field.name)
            if shown is not None and shown.label is None:
                shown.label = capfirst(field.verbose_name)
                shown.help_text = shown.help_text or field.help_text

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if self.refusal is not None:
            name = self.fields_of.get(self.refusal.field, self.refusal.field)
            self.add_error(name if name in self.fields else None, staff_message(self.refusal))
        return values

    def _get_validation_exclusions(self) -> set[str]:
        """Leave out related rows: the form's own fields look them up in the app's database, while the model's fields would
        look them up again, in the database to which the host's routers send reads."""
        related = {field.name for field in self._meta.model._meta.fields if field.is_relation}
        return {*super()._get_validation_exclusions(), *related}  # type: ignore[misc]  # not in the stubs

    def changes(self) -> dict[str, Any]:
        """Return the values that the user changed."""
        return {name: self.cleaned_data[name] for name in self.changed_data if name in self.cleaned_data}


class ServiceAdmin(StaffAdmin):
    """An admin that saves through a service function, in a transaction like the service's own.

    It is retried after a deadlock and rolled back completely if the service refuses. The form is then shown again with the
    reason.
    """

    #: The page to add a row; empty: as the page of a row. `readonly_fields` apply to the page of a row only.
    add_fieldsets: ClassVar[Any] = ()

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.add_fieldsets if self.add_fieldsets and obj is None else super().get_fieldsets(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.readonly_fields if obj else ()

    @method_decorator(sensitive_post_parameters())
    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        view = partial(super().changeform_view, request, object_id, form_url, extra_context)
        with hidden_locals():
            if request.method != "POST":
                return view()
            try:
                return in_fresh_transaction(view)
            except WebhooksError as refusal:
                request.refusal = refusal  # type: ignore[attr-defined]
                return view()

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change, **kwargs)
        form.refusal = getattr(request, "refusal", None)
        return form


class StrictJSON(forms.JSONField):
    """JSON that every database can store: no NaN, no NUL, limited nesting."""

    def to_python(self, value: Any) -> Any:
        try:
            found = super().to_python(value)
            text = json.dumps(found, allow_nan=False)
        except (ValueError, RecursionError) as error:
            raise ValidationError(_("This JSON has numbers that are none, or is nested too deeply.")) from error
        if "\\u0000" in text:
            raise ValidationError(_("NUL characters cannot be stored."))
        return found

    def bound_data(self, data: Any, initial: Any) -> Any:
        try:
            return super().bound_data(data, initial)
        except RecursionError:
            return InvalidJSONInput(data)


class Lines(forms.CharField):
    """A list of strings, one per line."""

    widget = forms.Textarea(attrs={"rows": 4})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, (list, tuple)) else value

    def to_python(self, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return list(value)
        return [line.strip() for line in str(value or "").splitlines() if line.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.to_python(data) != list(initial or []))

    def validate(self, value: Any) -> None:
        if self.required and not value:
            raise ValidationError(self.error_messages["required"], code="required")

    def run_validators(self, value: Any) -> None:
        for line in value:
            super().run_validators(line)
