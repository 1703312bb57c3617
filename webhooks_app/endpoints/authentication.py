"""Check the authentication that a customer enters for an endpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.utils.translation import gettext as _

from webhooks_app.core.authentication import (
    HEADER,
    KINDS,
    Authentication,
    AuthenticationField,
    AuthenticationKind,
)
from webhooks_app.endpoints.headers import KeepValue, wire_format_header_names
from webhooks_app.endpoints.validation import checked_url
from webhooks_app.exceptions import InvalidEndpoint, SealingError, URLNotAllowed, gettext_noop
from webhooks_app.models import Endpoint
from webhooks_app.wire_formats.base import WireFormat

#: The part of an error's `field` before the name of the authentication's own field.
PREFIX = "authentication."
_VALUE_MISSING = gettext_noop("Enter this value.")


def check_authentication(
    given: Mapping[str, Any] | None, stored: Callable[[], Authentication | None], wire_format: WireFormat
) -> Authentication | None:
    """Return the authentication to store; None to send none.

    A secret that is left out, or is KEEP_VALUE, keeps its stored value if the kind stays the same, and if it is for the same
    token server. Calls `stored` only then. Raises InvalidEndpoint, which names the field but never its value; its `field`
    begins with PREFIX.
    """
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise InvalidEndpoint("`authentication` is an object with a `kind`, or null.", field="authentication")
    try:
        kind = AuthenticationKind(given.get("kind", ""))
    except ValueError:
        names = ", ".join(AuthenticationKind)
        raise _fault("kind", gettext_noop("Choose one of these kinds: %(names)s."), names=names) from None
    if HEADER.lower() in wire_format_header_names(wire_format):
        raise _fault(
            "kind", gettext_noop("The signature is in the Authorization header, so no authentication can be added.")
        )
    fields = KINDS[kind].fields
    if unknown := given.keys() - {"kind", *(one.name for one in fields)}:
        first = min(map(str, unknown))
        raise _fault("kind", gettext_noop("This kind has no field %(unknown)s."), unknown=f"{first!r:.100}")
    values = {one.name: _checked(one, given[one.name], wire_format) for one in fields if _is_given(one, given)}
    missing = [one for one in fields if one.required and one.name not in values]
    if missing:
        values |= _kept(missing, kind, values, stored(), wire_format)
    return Authentication(kind, {one.name: values[one.name] for one in fields if values.get(one.name)})


def shown_authentication(endpoint: Endpoint) -> list[tuple[str, str]] | None:
    """Return label and value of what may be shown: the kind first, and no secrets. Empty: there is no authentication. None: it
    cannot be decrypted because its key is lost."""
    try:
        found = endpoint.opened_authentication()
    except SealingError:
        return None
    if found is None:
        return []
    kind, values = KINDS[found.kind], found.shown()
    rows = [
        (
            _(one.label),
            _(dict(one.choices).get(values[one.name], values[one.name])) if one.choices else values[one.name],
        )
        for one in kind.fields
        if one.name in values
    ]
    return [(_("Authentication"), _(kind.name)), *rows]


def check_exclusive(authentication: Authentication | None, headers: Iterable[str], *, field: str) -> None:
    """Raise InvalidEndpoint if both set the Authorization header. `field`: the input to name."""
    if authentication is not None and any(name.lower() == HEADER.lower() for name in headers):
        raise InvalidEndpoint(
            gettext_noop(
                "The endpoint has an authentication and a custom header named Authorization. Remove one of them."
            ),
            field=field,
        )


def _is_given(one: AuthenticationField, given: Mapping[str, Any]) -> bool:
    return one.name in given and not isinstance(given[one.name], KeepValue)


def _checked(one: AuthenticationField, value: object, wire_format: WireFormat) -> str:
    if not isinstance(value, str):
        raise _fault(one.name, gettext_noop("Enter a text."))
    if not value and not one.required:
        return ""
    if one.choices:
        if value not in {choice for choice, _label in one.choices}:
            names = ", ".join(choice for choice, _label in one.choices)
            raise _fault(one.name, gettext_noop("Choose one of these: %(names)s."), names=names)
        return value
    if one.is_url:
        try:
            return checked_url(value, wire_format).url
        except URLNotAllowed as error:
            raise URLNotAllowed(error.text, reason=error.reason, field=PREFIX + one.name, **error.values) from None
    if len(value) > one.most:
        raise _fault(one.name, gettext_noop("Enter at most %(most)s characters."), most=one.most)
    if not one.pattern.fullmatch(value):
        raise _fault(one.name, one.wrong)
    return value


def _kept(
    missing: list[AuthenticationField],
    kind: AuthenticationKind,
    values: Mapping[str, str],
    stored: Authentication | None,
    wire_format: WireFormat,
) -> dict[str, str]:
    """Return the stored values of the missing fields, which must be secrets meant for the same server."""
    for one in missing:
        if not one.is_secret:
            raise _fault(one.name, _VALUE_MISSING)
    if stored is None or stored.kind is not kind:
        raise _fault(missing[0].name, _VALUE_MISSING)
    if not _is_same_server(values, stored, wire_format):
        raise _fault(missing[0].name, gettext_noop("Enter this value again: the stored one is for another server."))
    return {one.name: stored.values[one.name] for one in missing}


def _is_same_server(values: Mapping[str, str], stored: Authentication, wire_format: WireFormat) -> bool:
    """Return whether the secrets go to the same server as before: a client secret is sent to the token URL."""
    before, after = stored.values.get("token_url"), values.get("token_url")
    if before == after:
        return True
    try:
        return checked_url(before or "", wire_format).origin == checked_url(after or "", wire_format).origin
    except URLNotAllowed:  # today's rules refuse the stored one
        return False


def _fault(name: str, text: str, **values: object) -> InvalidEndpoint:
    return InvalidEndpoint(text, field=PREFIX + name, **values)
