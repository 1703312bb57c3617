"""How requests authenticate to a receiver: the kinds, the fields of each, and the Authorization header. Pure.

The API's fields, both forms, the settings page and the checks are created from KINDS. To add a kind:

- add a member to `AuthenticationKind` and an entry to KINDS, and write its header in `Authentication.header`;
- add it to the CSS rule in `static/webhooks_app/endpoints.css` that shows the fields of the chosen kind;
- describe it in `docs/how-to/authenticate-to-a-receiver.md`, and translate its texts;
- if it needs an access token, extend `Authentication.needs_token`, `core/token_request.py` and `engine/access_tokens.py`.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from webhooks_app.exceptions import gettext_noop as _

#: The name of the header that every kind sends. A custom header of this name and an authentication exclude each other.
HEADER = "Authorization"

# Like every text of `core`, labels and help texts are marked here, and translated where they are shown.
_TEXT = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_USER_NAME = re.compile(
    r"[^:\x00-\x1f\x7f-\x9f\ud800-\udfff]+"
)  # RFC 7617: the first colon separates it from the password
_VISIBLE = re.compile(r"[ -~]+")  # VSCHAR of RFC 6749
_SCOPE = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")  # RFC 6749, section 3.3
#: The characters of a bearer token (RFC 6750, section 2.1).
B64TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")


class AuthenticationKind(StrEnum):
    """The kinds of authentication. The values are stored and are part of the API."""

    BASIC = "basic"
    BEARER = "bearer"
    CLIENT_CREDENTIALS = "client_credentials"


@dataclass(frozen=True, slots=True)
class AuthenticationField:
    """One field of a kind. Its value is a string.

    `wrong`: the error for a value that does not match `pattern`. `most`: the maximum number of characters. `choices`: the
    allowed values, each with its label; the first is the default. `is_url`: it is checked like the URL of an endpoint.
    """

    name: str
    label: str
    help: str = ""
    is_secret: bool = False
    required: bool = True
    pattern: re.Pattern[str] = _TEXT
    wrong: str = ""
    most: int = 1024
    choices: tuple[tuple[str, str], ...] = ()
    is_url: bool = False


@dataclass(frozen=True, slots=True)
class KindDescription:
    """One kind, for forms and for the API. `name` and `help` are for users."""

    name: str
    help: str
    fields: tuple[AuthenticationField, ...]


_NO_CONTROL_CHARACTERS = _("Enter 1 to 1024 characters, without control characters.")
_VISIBLE_ONLY = _("Enter visible ASCII characters only.")

KINDS: Mapping[AuthenticationKind, KindDescription] = {
    AuthenticationKind.BASIC: KindDescription(
        _("HTTP Basic"),
        _("A user name and a password in each request."),
        (
            AuthenticationField(
                "username",
                _("User name"),
                _("It is shown on this site. It must not contain a colon."),
                pattern=_USER_NAME,
                wrong=_("Enter 1 to 1024 characters, without a colon and without control characters."),
            ),
            AuthenticationField("password", _("Password"), is_secret=True, wrong=_NO_CONTROL_CHARACTERS),
        ),
    ),
    AuthenticationKind.BEARER: KindDescription(
        _("Bearer token"),
        _("A fixed token in each request."),
        (
            AuthenticationField(
                "token",
                _("Token"),
                _("Without the word Bearer, which we add."),
                is_secret=True,
                pattern=B64TOKEN,
                wrong=_("A token has letters, digits and the characters - . _ ~ + / only, and may end with =."),
                most=4096,
            ),
        ),
    ),
    AuthenticationKind.CLIENT_CREDENTIALS: KindDescription(
        _("OAuth 2.0 client credentials"),
        _("We get access tokens from your token server, and send one in each request."),
        (
            AuthenticationField(
                "token_url",
                _("Token URL"),
                _(
                    "Where we request access tokens. If you change its scheme, host or port, enter the client secret again."
                ),
                is_url=True,
                most=2048,
            ),
            AuthenticationField("client_id", _("Client ID"), pattern=_VISIBLE, wrong=_VISIBLE_ONLY),
            AuthenticationField(
                "client_secret", _("Client secret"), is_secret=True, pattern=_VISIBLE, wrong=_VISIBLE_ONLY, most=4096
            ),
            AuthenticationField(
                "client_authentication",
                _("Client authentication"),
                _("How we send the client ID and secret to the token server."),
                required=False,
                choices=(
                    ("header", _("In an HTTP Basic header")),
                    ("body", _("In the body of the request")),
                ),
            ),
            AuthenticationField(
                "scope",
                _("Scope"),
                _("The scopes to request, separated by spaces."),
                required=False,
                pattern=_SCOPE,
                wrong=_("Separate the scopes with single spaces. Quotes and backslashes are not allowed."),
            ),
            AuthenticationField(
                "audience",
                _("Audience"),
                _("Sent as the parameter audience, which some token servers require."),
                required=False,
                pattern=_VISIBLE,
                wrong=_VISIBLE_ONLY,
            ),
            AuthenticationField(
                "resource",
                _("Resource"),
                _("Sent as the parameter resource (RFC 8707), which some token servers require."),
                required=False,
                pattern=_VISIBLE,
                wrong=_VISIBLE_ONLY,
            ),
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token that a token server has issued. `seconds`: how long to use it."""

    value: str = field(repr=False)
    seconds: float


@dataclass(frozen=True, slots=True)
class Authentication:
    """The authentication of one endpoint. `values` are by the names of the kind's fields; empty ones are left out."""

    kind: AuthenticationKind
    values: Mapping[str, str] = field(repr=False)

    @property
    def needs_token(self) -> bool:
        """Return whether a token server must issue an access token first."""
        return self.kind is AuthenticationKind.CLIENT_CREDENTIALS

    def header(self, token: AccessToken | None = None) -> tuple[str, str]:
        """Return the header of a request. `token`: the access token, if the kind needs one. Raises ValueError without it."""
        match self.kind:
            case AuthenticationKind.BASIC:
                return HEADER, basic(self.values["username"], self.values["password"])
            case AuthenticationKind.BEARER:
                return HEADER, f"Bearer {self.values['token']}"
            case AuthenticationKind.CLIENT_CREDENTIALS:
                if token is None:
                    raise ValueError("the request needs an access token")
                return HEADER, f"Bearer {token.value}"

    def shown(self) -> dict[str, str]:
        """Return the kind and the values that may be shown: all but the secrets."""
        fields = KINDS[self.kind].fields
        shown = {one.name: self.values[one.name] for one in fields if not one.is_secret and one.name in self.values}
        return {"kind": self.kind.value, **shown}

    def to_text(self) -> str:
        """Return all of it as text, which must be encrypted before it is stored."""
        return json.dumps({"kind": self.kind.value, **self.values})


def basic(username: str, password: str) -> str:
    """Return the value of the header for HTTP Basic, in UTF-8 (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def parse_authentication(text: str) -> Authentication | None:
    """Return what `to_text` has written; None for an empty text."""
    if not text:
        return None
    values = dict(json.loads(text))
    return Authentication(AuthenticationKind(values.pop("kind")), values)
