"""The playground: an endpoint that leads to this app itself, so that users can try webhooks without a server."""

from typing import TYPE_CHECKING

from webhooks_app.exports import lazy_exports

if TYPE_CHECKING:
    from webhooks_app.playground.requests import arrivals
    from webhooks_app.playground.service import answer_with, close_playground, open_playground, send_to_playground

__all__ = ["answer_with", "arrivals", "close_playground", "open_playground", "send_to_playground"]

_SERVICE = "webhooks_app.playground.service"

__getattr__ = lazy_exports(
    __name__,
    {
        "answer_with": _SERVICE,
        "arrivals": "webhooks_app.playground.requests",
        "close_playground": _SERVICE,
        "open_playground": _SERVICE,
        "send_to_playground": _SERVICE,
    },
)
