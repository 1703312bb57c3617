"""A page that shows a secret once, in the response to the request that created it. No message, session or cache stores it."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse

from webhooks_app.admin.row_actions import RowActionsMixin


class ShowSecretOnceMixin(RowActionsMixin):
    """After saving, show a page with the new secret, if there is one, instead of the usual redirect."""

    once_template = "admin/webhooks_app/secret.html"

    def show_once(self, request: HttpRequest, text: str | None) -> None:
        """Set the secret that the response to this request shows; None: nothing."""
        request.shown_once = text  # type: ignore[attr-defined]

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        return self._once(request, obj) or super().response_add(request, obj, post_url_continue)

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        return self._once(request, obj) or super().response_change(request, obj)

    def _once(self, request: HttpRequest, obj: Any) -> HttpResponse | None:
        text = getattr(request, "shown_once", None)
        if not text:
            return None
        context = {"secret": text, "original": obj, "title": str(obj), "new": True}
        return self._page(request, self.once_template, context)
