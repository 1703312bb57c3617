"""Show the errors of actions to customers: beside the field at fault, else above the form."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from webhooks_app.deliveries.explain import error_in_words
from webhooks_app.exceptions import (
    ConfigurationError,
    IdempotencyInProgress,
    NotAvailableOnPlan,
    SealingError,
    WebhooksError,
)

Form = TypeVar("Form", bound=forms.Form)
Made = TypeVar("Made")

logger = logging.getLogger(__name__)

#: Texts for readers, in place of messages that are written for programs.
_TO_PEOPLE = {
    IdempotencyInProgress: gettext_lazy("This form was sent a moment ago, and is being worked on."),
    NotAvailableOnPlan: gettext_lazy("Webhooks are not part of your plan."),
}


def error_message(error: WebhooksError) -> str:
    """Return the text of the error for customers. Errors of the operator are only logged in detail."""
    if isinstance(error, (ConfigurationError, SealingError)):
        logger.error("webhooks: a page cannot do what was asked: %s", error)
        return _("Webhooks cannot be managed at the moment. We have been told; try again later.")
    words = _TO_PEOPLE.get(type(error))
    return error_in_words(error) if words is None else str(words)


def add_error(form: forms.BaseForm, error: WebhooksError, field: str = "") -> None:
    """Add the error to its field if the form has it, else to the form. `field`: its name in the form, if that is another."""
    name = field or error.field
    form.add_error(name if name in form.fields else None, error_message(error))


def run_action(
    form: Form, act: Callable[[], Made], refuse: Callable[[Form, WebhooksError], None] = add_error
) -> Made | None:
    """Return the result of `act`. Return None if the form is invalid or the action fails: the form then has the error."""
    if not form.is_valid():
        return None
    try:
        return act()
    except WebhooksError as error:
        refuse(form, error)
        return None
