"""Row actions: what staff can do with a row, from its page or from a list.

Each action calls one service function, needs its own permission, and reports how many rows succeeded, how many failed, and
why.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.debug import sensitive_post_parameters

from webhooks_app.admin.base import StaffAdmin
from webhooks_app.admin.links import list_of, page_of
from webhooks_app.deliveries.explain import error_in_words
from webhooks_app.exceptions import WebhooksError
from webhooks_app.models.database import database_alias
from webhooks_app.tenants.access import staff_actor_of
from webhooks_app.tracebacks import hidden_locals

#: The most rows that an action on a list accepts; it handles them one by one while a user waits.
MOST_AT_ONCE = 500
#: The most rows named in a message, or on the confirmation page.
_MOST_NAMED = 10
_MOST_LISTED = 50


@dataclass(frozen=True, slots=True)
class ActionResult:
    """The message of an action; its level is WARNING if the result still waits for something.

    `url`: the next page; empty: the row's page. `template`: is rendered instead, once; it may contain a secret, so the page
    is not stored.
    """

    message: str = ""
    level: int = messages.SUCCESS
    url: str = ""
    template: str = ""
    context: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class RowAction:
    """An action on rows.

    `run(row, actor=…, **cleaned form data)` executes it and may return an `ActionResult`. `form` asks for the data; it is built
    with the keyword arguments that `form_options(row)` returns. `permission`: a codename of this app. `confirms`: whether a list
    asks for confirmation before it applies the action to several rows.
    """

    name: str
    label: Any
    explanation: Any
    permission: str
    run: Callable[..., Any]
    form: type[forms.Form] = forms.Form
    form_options: Callable[[Any], dict[str, Any]] = lambda row: {}
    bulk: bool = True
    confirms: bool = True
    dangerous: bool = False
    fits: Callable[[Any], bool] = lambda row: True


class RowActionsMixin(StaffAdmin):
    """Add actions to an admin: `row_actions` are buttons on the page of a row, and (if `bulk`) actions of the list."""

    row_actions: Sequence[RowAction] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.actions = [*(self.actions or ()), *(_list_action(action) for action in self.row_actions if action.bulk)]
        for action in self.row_actions:
            setattr(self, f"has_{action.permission}_permission", partial(self._may_run, action.permission))

    def get_urls(self) -> list[Any]:
        # A test event waits for a response from the network: no transaction of the host may be open meanwhile.
        view = transaction.non_atomic_requests(using=database_alias())(self.admin_site.admin_view(self.action_view))
        url_name = f"{self.opts.app_label}_{self.opts.model_name}_action"
        return [path("<str:object_id>/actions/<slug:name>/", view, name=url_name), *super().get_urls()]

    def page_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        return {**super().page_context(request, row), "row_actions": self.buttons(request, row)}

    def buttons(self, request: HttpRequest, row: Model) -> list[dict[str, Any]]:
        """Return the actions that apply to the row and that the user may execute."""
        fitting = [
            action for action in self.row_actions if self._may_run(action.permission, request) and action.fits(row)
        ]
        return [{"action": action, "url": self.action_url(action, row)} for action in fitting]

    def action_url(self, action: RowAction, row: Model) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_action", args=(row.pk, action.name))

    @method_decorator(sensitive_post_parameters())
    @hidden_locals()
    def action_view(self, request: HttpRequest, object_id: str, name: str) -> HttpResponse:
        """Render the page of one action on one row: ask (with a form if it needs input), then execute it."""
        action = next((one for one in self.row_actions if one.name == name), None)
        row = self.get_object(request, object_id)
        if action is None or row is None:
            raise Http404
        if not self.has_view_permission(request, row) or not self._may_run(action.permission, request):
            raise PermissionDenied
        form = action.form(request.POST if request.method == "POST" else None, **action.form_options(row))
        if request.method == "POST" and form.is_valid():
            done = self._run(request, action, row, form)
            if done is not None:
                return self._show_result(request, action, row, done)
        context = {"action": action, "form": form, "original": row, "title": action.label, "subtitle": str(row)}
        return self._page(request, "admin/webhooks_app/action.html", context)

    def run_on_list(self, request: HttpRequest, rows: QuerySet[Any], action: RowAction) -> HttpResponse | None:
        """Execute the action on several rows; ask for confirmation first if it needs one."""
        taken = list(rows[: MOST_AT_ONCE + 1])
        if len(taken) > MOST_AT_ONCE:
            text = _("These are more than %(most)s at once; nothing was done. Choose fewer.") % {"most": MOST_AT_ONCE}
            self.message_user(request, text, messages.ERROR)
            return None
        if action.confirms and "confirmed" not in request.POST:
            context = {
                "action": action,
                "rows": taken,
                "listed": taken[:_MOST_LISTED],
                "unlisted": max(len(taken) - _MOST_LISTED, 0),
                "title": action.label,
                "action_name": _action_name(action),
                "checkbox": ACTION_CHECKBOX_NAME,
            }
            return self._page(request, "admin/webhooks_app/action_on_list.html", context)
        self._run_on_each(request, action, taken)
        return None

    def _run(self, request: HttpRequest, action: RowAction, row: Any, form: forms.Form) -> ActionResult | None:
        """Return the result; None if the action was refused, and the form says why."""
        try:
            done = action.run(row, actor=staff_actor_of(request.user), **form.cleaned_data)
        except WebhooksError as error:
            form.add_error(error.field if error.field in form.fields else None, staff_message(error))
            return None
        self.log_change(request, row, str(action.label))
        return done if isinstance(done, ActionResult) else ActionResult()

    def _show_result(self, request: HttpRequest, action: RowAction, row: Any, done: ActionResult) -> HttpResponse:
        if done.template:
            context = {"action": action, "original": row, "title": action.label, "subtitle": str(row), **done.context}
            return self._page(request, done.template, context)
        self.message_user(request, done.message or _("%(label)s: done.") % {"label": action.label}, done.level)
        return HttpResponseRedirect(done.url or page_of(row))

    def _run_on_each(self, request: HttpRequest, action: RowAction, rows: Sequence[Any]) -> None:
        refused: dict[str, list[str]] = defaultdict(list)
        waiting: dict[str, list[str]] = defaultdict(list)
        actor = staff_actor_of(request.user)
        for row in rows:
            try:
                came = action.run(row, actor=actor)
            except WebhooksError as error:
                refused[staff_message(error)].append(_named(row))
            else:
                self.log_change(request, row, str(action.label))
                if isinstance(came, ActionResult) and came.level == messages.WARNING:
                    waiting[came.message].append(_named(row))
        done = len(rows) - sum(map(len, refused.values()))
        values = {"label": action.label, "done": done, "all": len(rows)}
        level = messages.SUCCESS if done == len(rows) else messages.WARNING
        self.message_user(request, _("%(label)s: %(done)s of %(all)s done.") % values, level)
        for reason, ids in waiting.items():
            text = ngettext("%(count)s waits: %(reason)s (%(ids)s)", "%(count)s wait: %(reason)s (%(ids)s)", len(ids))
            self.message_user(request, text % _counted(reason, ids), messages.WARNING)
        for reason, ids in refused.items():
            text = ngettext(
                "%(count)s could not: %(reason)s (%(ids)s)", "%(count)s could not: %(reason)s (%(ids)s)", len(ids)
            )
            self.message_user(request, text % _counted(reason, ids), messages.ERROR)

    def _may_run(self, permission: str, request: HttpRequest, obj: object = None) -> bool:
        return self.may(request, permission)

    def _page(self, request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
        """Render a page of the app inside the admin that must not be cached."""
        page = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "list_url": list_of(self.model),
            "is_nav_sidebar_enabled": False,
            **context,
        }
        request.current_app = self.admin_site.name
        return prevent_caching(TemplateResponse(request, template, page))


def prevent_caching(response: HttpResponse) -> HttpResponse:
    """Tell browsers and proxies not to store the response: it may contain a secret that is shown only once."""
    response["Cache-Control"] = "no-store, private"
    # Not "no-referrer": a browser would then send forms with "Origin: null", which Django rejects.
    response["Referrer-Policy"] = "same-origin"
    return response


def staff_message(error: WebhooksError) -> str:
    """Return the error in words for staff, including the reason that customers do not see."""
    reason = getattr(error, "reason", "")
    words = error_in_words(error)
    return f"{words} ({reason})" if reason and reason != str(error) else words


def _named(row: Any) -> str:
    return getattr(row, "public_id", str(row))


def _counted(reason: str, ids: Sequence[str]) -> dict[str, Any]:
    named = ", ".join(ids[:_MOST_NAMED]) + (" …" if len(ids) > _MOST_NAMED else "")
    return {"count": len(ids), "reason": reason, "ids": named}


def _list_action(action: RowAction) -> Any:
    def run(model_admin: RowActionsMixin, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return model_admin.run_on_list(request, queryset, action)

    run.__name__ = _action_name(action)
    described: Any = run
    described.short_description = action.label
    described.allowed_permissions = [action.permission]
    return described


def _action_name(action: RowAction) -> str:
    return f"action_{action.name.replace('-', '_')}"
