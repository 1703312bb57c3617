"""Everything this app raises on purpose. The docstring of each class says what the caller should do."""

from __future__ import annotations

from typing import ClassVar


def gettext_noop(text: str) -> str:
    """Mark a message for translation: `makemessages` looks for this name. Needs no Django."""
    return text


class WebhooksError(Exception):
    """Root of all errors of this app. Catch this one to keep the app's troubles away from your own code.

    `str()` gives the English message, for programs and logs. `text` and `values` are its parts (`text % values`), so that
    pages can translate it.
    """

    #: Stable code for programs, as the REST API reports it.
    code: ClassVar[str] = "WEBHOOKS_ERROR"

    def __init__(self, message: str = "", *, field: str = "", **values: object) -> None:
        self.text = message or (type(self).__doc__ or "").strip().split("\n")[0]
        self.values = values
        super().__init__(self.text % values if values else self.text)
        #: The invalid input field, if any.
        self.field = field


class NotFound(WebhooksError):
    """There is no such object, or it is not yours. Look at the id again."""

    code = "NOT_FOUND"


class InvalidEvent(WebhooksError):
    """The event cannot be accepted as it is. Correct the call to `emit`: the message names the field and the reason."""

    code = "INVALID_EVENT"


class UnknownEventType(InvalidEvent):
    """No such event type. Declare it in `<your app>/webhooks.py` or add it in the admin, then emit it."""

    code = "UNKNOWN_EVENT_TYPE"


class PayloadTooLarge(InvalidEvent):
    """The event's data is over the size limit. Send an id and let the receiver fetch the rest, or raise MAX_PAYLOAD_BYTES."""

    code = "PAYLOAD_TOO_LARGE"


class BacklogFull(WebhooksError):
    """Too many events are pending, so this one was not stored. Emit it again later; see that workers run, or raise the limit."""

    code = "BACKLOG_FULL"
    #: Seconds after which to retry.
    retry_after: ClassVar[int] = 30


class InvalidFilter(WebhooksError):
    """A filter of the list is not understood. Correct the parameter that is named."""

    code = "INVALID_FILTER"


class InvalidTenant(WebhooksError):
    """The tenant's data are not acceptable. Correct the field that is named."""

    code = "INVALID_TENANT"


class InvalidEventType(WebhooksError):
    """The event type cannot be added so. Correct the field that is named."""

    code = "INVALID_EVENT_TYPE"


class InvalidApiKey(WebhooksError):
    """The API key cannot be made so. Correct the field that is named."""

    code = "INVALID_API_KEY"


class InvalidPortalLink(WebhooksError):
    """This link was used already, or is too old. Ask for a new one."""

    code = "INVALID_PORTAL_LINK"


class IdempotencyInProgress(WebhooksError):
    """A request with this Idempotency-Key is still at work. Ask again in a moment, with the same key."""

    code = "IDEMPOTENCY_IN_PROGRESS"


class IdempotencyConflict(InvalidEvent):
    """This idempotency key was used for another event. Use a new key, or send exactly what was sent first."""

    code = "IDEMPOTENCY_CONFLICT"


class URLNotAllowed(WebhooksError):
    """This URL cannot be a webhook endpoint. Show the message to the person who typed it; `reason` is for staff only."""

    code = "URL_NOT_ALLOWED"

    def __init__(self, message: str = "", *, reason: str = "", field: str = "url", **values: object) -> None:
        super().__init__(message, field=field, **values)
        #: The reason, for staff and logs. Never show it to a customer: it may reveal what is behind the firewall.
        self.reason = reason or str(self)


class InvalidEndpoint(WebhooksError):
    """The endpoint's settings are not acceptable. Correct the field that is named."""

    code = "INVALID_ENDPOINT"


class FilterTooCostly(WebhooksError):
    """Comparing the event with the endpoint's filters takes too long. Use fewer conditions, or send shorter lists and texts."""

    code = "FILTER_TOO_COSTLY"


class InvalidSecret(WebhooksError):
    """The signing secret is not acceptable. Use a longer or well-formed one, or let the app make one."""

    code = "INVALID_SECRET"


class NotAvailableOnPlan(WebhooksError):
    """Webhooks are not available for this tenant. Change the tenant's plan."""

    code = "WEBHOOKS_NOT_AVAILABLE_ON_PLAN"


class TooManyEndpoints(WebhooksError):
    """The tenant has as many endpoints as it may have. Delete one, or raise the tenant's limit."""

    code = "MAX_WEBHOOK_ENDPOINTS_REACHED"


class NotAllowed(WebhooksError):
    """You may look at this, but not change it. Ask somebody who manages the webhooks."""

    code = "NOT_ALLOWED"


class ConflictingState(WebhooksError):
    """The object is not in a state that allows this. Look at it again, then decide."""

    code = "CONFLICT"


class SealingError(WebhooksError):
    """A secret could not be sealed or opened. Put its key back into ENCRYPTION_KEYS; nothing is sent until then."""

    code = "SEALING_ERROR"


class VerificationFailed(WebhooksError):
    """The signature does not fit the body. Refuse the request (answer 401) and do not act on it."""

    code = "VERIFICATION_FAILED"


class SignatureVerificationError(VerificationFailed):
    """The signature does not fit the body, as messages.dev's own library says it. Answer 401 and do not act on it."""


class ConfigurationError(WebhooksError):
    """The WEBHOOKS setting is wrong. Correct the setting that is named."""

    code = "CONFIGURATION_ERROR"
