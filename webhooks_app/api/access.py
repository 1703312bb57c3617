"""Authentication: an API key or a logged-in user, the tenant of the request, and its scopes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AnonymousUser
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle
from rest_framework.views import APIView

from webhooks_app.conf import settings
from webhooks_app.core.role import Role
from webhooks_app.core.secrets import token_digest
from webhooks_app.models import ApiKey, Scope, Tenant
from webhooks_app.tenants.access import actor_of, role_of_request, tenant_of_request
from webhooks_app.tenants.api_keys import find_api_key
from webhooks_app.tenants.refusals import PERIOD, must_wait, record_refusal, refuse_api_key, sender_of, was_refused

#: The scopes of logged-in users by role.
_SCOPES = {Role.MANAGER: frozenset(Scope.values), Role.VIEWER: frozenset({Scope.WEBHOOKS_READ.value})}


@dataclass(frozen=True, slots=True)
class Access:
    """The tenant, scopes and actor of a request. It is the request's `auth`."""

    tenant: Tenant
    scopes: frozenset[str]
    #: For the audit log: "key:key_…" or "user:anna".
    actor: str
    #: None: a logged-in user.
    key: ApiKey | None = None


class KeyUser(AnonymousUser):
    """The user of a request with an API key: authenticated, but no account of the host."""

    @property
    def is_authenticated(self) -> bool:  # type: ignore[override]  # Django says Literal[False]
        return True


class ApiKeyAuthentication(BaseAuthentication):
    """`X-API-Key: wk_…` or `Authorization: Bearer wk_…`."""

    def authenticate(self, request: Request) -> tuple[Any, Access] | None:
        text = self.text_of(request)
        if text is None:
            return None
        sender = sender_of(request._request)
        if not was_refused(text):
            if must_wait(text, sender):
                raise Throttled(PERIOD)
            key = find_api_key(text)
            if key is not None:
                return KeyUser(), Access(key.tenant, frozenset(key.scopes), f"key:{key.public_id}", key)
            refuse_api_key(text, sender)
        raise AuthenticationFailed("This API key is unknown, expired or revoked. Create another one.")

    def text_of(self, request: Request) -> str | None:
        """Return the key as it was sent; None if there was none. Dialects may read it from elsewhere."""
        if text := request.headers.get("X-API-Key"):
            return str(text).strip()
        scheme, _, text = str(request.headers.get("Authorization", "")).partition(" ")
        return text.strip() if scheme.lower() == "bearer" else None

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="webhooks"'


class PersonAuthentication(SessionAuthentication):
    """A logged-in user, with CSRF protection. TENANT_OF_REQUEST decides whose webhooks they may manage."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        found = super().authenticate(request)
        if found is None or not settings().TENANT_OF_REQUEST:
            return None
        user, tenant = found[0], tenant_of_request(request._request)
        if tenant is None:
            return user, None
        return user, Access(tenant, _SCOPES[role_of_request(request._request)], actor_of(user))


class HasScope(BasePermission):
    """Check the scope that the view's `scopes` names, by method in lower case or by action."""

    #: For a logged-in user without a tenant; a request without a user is not authenticated.
    message = "This user belongs to no tenant. Log in as another user, or send an API key."

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not isinstance(request.auth, Access):
            return False
        access, scope = request.auth, needed_scope(view, str(request.method))
        if scope in access.scopes:
            return True
        owner = "API key" if access.key else "user"
        self.message = f"This {owner} lacks the scope `{scope}`. Use one that has it."
        if access.key is not None:
            record_refusal(access.tenant.pk, access.actor, "api_key.refused", access.key.public_id, f"no scope {scope}")
        return False


def needed_scope(view: APIView, method: str) -> str:
    """Return the scope that a request needs: read for reading, write for everything else, unless the view says otherwise."""
    scopes: dict[str, str] = getattr(view, "scopes", {})
    default = Scope.WEBHOOKS_READ if method in ("GET", "HEAD", "OPTIONS") else Scope.WEBHOOKS_WRITE
    return str(scopes.get(getattr(view, "action", None) or method.lower(), default))


class KeyThrottle(SimpleRateThrottle):
    """The rate limit of API["RATE_LIMIT"] per key (or user); anonymous requests are counted by IP address."""

    scope = "webhooks_api"
    cache_format = "webhooks_throttle_%(scope)s_%(ident)s"

    def get_rate(self) -> str | None:
        return settings().API.RATE_LIMIT or None

    def get_cache_key(self, request: Request, view: APIView) -> str:
        ident = request.auth.actor if isinstance(request.auth, Access) else sender_of(request)
        # A digest, because Memcached does not take every text.
        return self.cache_format % {"scope": self.scope, "ident": token_digest(ident)}
