"""The exceptions of this app. The docstring of each class says what is wrong and what to do.

Its first line is the default message of the exception, which users and API clients may see.
"""

from __future__ import annotations

from typing import ClassVar


def gettext_noop(text: str) -> str:
    """Mark a message for translation: `makemessages` looks for this name. Needs no Django."""
    return text


class WebhooksError(Exception):
    """Base class of all errors of this app. Catch it to handle every error that the app raises.

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
    """There is no such object, or it is not yours. Check the id."""

    code = "NOT_FOUND"


class InvalidEvent(WebhooksError):
    """The event is invalid. Correct the call to `emit`: the message names the field and the reason."""

    code = "INVALID_EVENT"


class UnknownEventType(InvalidEvent):
    """There is no such event type. Declare it in `<your app>/webhooks.py` or add it in the admin."""

    code = "UNKNOWN_EVENT_TYPE"


class PayloadTooLarge(InvalidEvent):
    """The event's data is too large. Send an id and let the receiver fetch the rest, or raise MAX_PAYLOAD_BYTES."""

    code = "PAYLOAD_TOO_LARGE"


class BacklogFull(WebhooksError):
    """Too many events are pending, so this one was not stored. Emit it again later; check the workers, or raise the limit."""

    code = "BACKLOG_FULL"
    #: Seconds after which to retry.
    retry_after: ClassVar[int] = 30


class TooManyCallbackHosts(InvalidEvent):
    """The tenant's callback URLs name too many new hosts. Emit the event later, or raise the tenant's limit."""

    code = "TOO_MANY_CALLBACK_HOSTS"
    #: Seconds after which to retry.
    retry_after: ClassVar[int] = 600


class InvalidFilter(WebhooksError):
    """A filter of the list is invalid. Correct the named parameter."""

    code = "INVALID_FILTER"


class InvalidTenant(WebhooksError):
    """The tenant's data is invalid. Correct the named field."""

    code = "INVALID_TENANT"


class InvalidEventType(WebhooksError):
    """The event type is invalid. Correct the named field."""

    code = "INVALID_EVENT_TYPE"


class InvalidApiKey(WebhooksError):
    """The values of the API key are invalid. Correct the named field."""

    code = "INVALID_API_KEY"


class InvalidPortalLink(WebhooksError):
    """This link has already been used, or it has expired. Request a new link."""

    code = "INVALID_PORTAL_LINK"


class IdempotencyInProgress(WebhooksError):
    """A request with this Idempotency-Key is still in progress. Try again in a moment, with the same key."""

    code = "IDEMPOTENCY_IN_PROGRESS"


class IdempotencyConflict(InvalidEvent):
    """This idempotency key was used for another event. Use a new key, or repeat the first request exactly."""

    code = "IDEMPOTENCY_CONFLICT"


class URLNotAllowed(WebhooksError):
    """This URL is not allowed as an endpoint. Show the message to the user who entered it; `reason` is for staff only."""

    code = "URL_NOT_ALLOWED"

    def __init__(self, message: str = "", *, reason: str = "", field: str = "url", **values: object) -> None:
        super().__init__(message, field=field, **values)
        #: The reason, for staff and logs. Never show it to a customer: it may reveal what is behind the firewall.
        self.reason = reason or str(self)


class InvalidEndpoint(WebhooksError):
    """The endpoint's settings are invalid. Correct the named field."""

    code = "INVALID_ENDPOINT"


class FilterTooCostly(WebhooksError):
    """Comparing the event with the endpoint's filters takes too long. Use fewer conditions, or send shorter lists and texts."""

    code = "FILTER_TOO_COSTLY"


class InvalidSecret(WebhooksError):
    """The signing secret is invalid. Use a longer or well-formed secret, or let the app generate one."""

    code = "INVALID_SECRET"


class NotAvailableOnPlan(WebhooksError):
    """Webhooks are not available for this tenant. Change the tenant's plan."""

    code = "WEBHOOKS_NOT_AVAILABLE_ON_PLAN"


class TooManyEndpoints(WebhooksError):
    """The tenant has reached its maximum number of endpoints. Delete one, or raise the tenant's limit."""

    code = "MAX_WEBHOOK_ENDPOINTS_REACHED"


class TooManyApiKeys(WebhooksError):
    """The tenant has reached its maximum number of API keys. Revoke one, or raise the tenant's limit."""

    code = "MAX_API_KEYS_REACHED"


class NotAllowed(WebhooksError):
    """You may view this, but not change it. Ask a user who manages the webhooks."""

    code = "NOT_ALLOWED"


class ConflictingState(WebhooksError):
    """The object's current state does not allow this. Reload it and check its state."""

    code = "CONFLICT"


class SealingError(WebhooksError):
    """A secret or a payload could not be encrypted or decrypted. Put its key back into ENCRYPTION_KEYS."""

    code = "SEALING_ERROR"


class VerificationFailed(WebhooksError):
    """The signature does not match the body. Reject the request with 401, and do not process it."""

    code = "VERIFICATION_FAILED"


class SignatureVerificationError(VerificationFailed):
    """The signature does not match the body. Reject the request with 401. The name is that of messages.dev's own library."""


class ConfigurationError(WebhooksError):
    """The WEBHOOKS setting is invalid. Correct the named setting."""

    code = "CONFIGURATION_ERROR"
