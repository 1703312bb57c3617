"""The REST API. It contains no logic of its own: it reads requests, calls the services and writes responses.

It exports what a host needs to mount it, or to write its own API in the same way.
"""

from typing import TYPE_CHECKING

from webhooks_app.exports import lazy_exports

if TYPE_CHECKING:
    from webhooks_app.api.dialect import DialectView
    from webhooks_app.api.idempotency import idempotent
    from webhooks_app.api.publishing import publish
    from webhooks_app.api.urls_with_fallback import include_api
    from webhooks_app.api.views.base import NoSuchPath

__all__ = ["DialectView", "NoSuchPath", "idempotent", "include_api", "publish"]

__getattr__ = lazy_exports(
    __name__,
    {
        "DialectView": "webhooks_app.api.dialect",
        "NoSuchPath": "webhooks_app.api.views.base",
        "idempotent": "webhooks_app.api.idempotency",
        "include_api": "webhooks_app.api.urls_with_fallback",
        "publish": "webhooks_app.api.publishing",
    },
)
