"""A page that shows a secret once, in answer to the request that made it. It is kept in no message, session or cache."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse

from webhooks_app.admin.row_actions import RowActionsMixin


class ShowSecretOnceMixin(RowActionsMixin):
    """After saving, instead of going on to another page: what was made, where something was."""

    once_template = "admin/webhooks_app/secret.html"

    def show_once(self, request: HttpRequest, text: str | None) -> None:
        """What the answer to this request is to show; None: nothing."""
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
