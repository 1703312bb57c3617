"""An endpoint's client certificate and certificate authorities: show, replace, remove."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.translation import gettext as _

from webhooks_app.dashboard.access import Visitor
from webhooks_app.dashboard.certificates import shown_certificates
from webhooks_app.dashboard.form_errors import error_message, run_action
from webhooks_app.dashboard.page_view import dashboard_view, render_page
from webhooks_app.dashboard.pages.endpoints import own_endpoint, to_endpoint
from webhooks_app.dashboard.sections import ENDPOINTS
from webhooks_app.endpoints.service import change_endpoint
from webhooks_app.exceptions import NotFound, WebhooksError
from webhooks_app.forms.client_tls import FIELDS_OF, ClientTLSFields
from webhooks_app.models import Endpoint, database_now


class ClientTLSForm(ClientTLSFields):
    """The form of the certificates alone."""

    def refuse(self, error: WebhooksError) -> None:
        """Show the error of an action beside its field."""
        name = FIELDS_OF.get(error.field)
        self.add_error(name if name in self.fields else None, error_message(error))

    def remind_of_texts(self) -> None:
        """Ask for the texts again when the form is shown again: they are not rendered, and browsers send no files back."""
        self.add_error(None, _("Enter all texts again, or choose the files again. They are not shown."))


@dashboard_view("GET", "POST", manages=True)
def endpoint_certificates(request: HttpRequest, visitor: Visitor, public_id: str) -> HttpResponse:
    row = own_endpoint(public_id, visitor)
    if row.is_playground:
        raise NotFound()
    if request.method != "POST":
        return _form_page(request, visitor, row, ClientTLSForm())
    form = ClientTLSForm(request.POST, request.FILES)
    if form.is_valid() and not form.client_tls():
        return to_endpoint(row, "same")
    changed = run_action(
        form, lambda: change_endpoint(row, client_tls=form.client_tls(), actor=visitor.actor), ClientTLSForm.refuse
    )
    if changed is None:
        form.remind_of_texts()
        return _form_page(request, visitor, row, form, status=422)
    return to_endpoint(row, "certificates")


@dashboard_view("POST")
def remove_certificates(request: HttpRequest, visitor: Visitor, public_id: str) -> HttpResponse:
    """Remove all certificates, also those that cannot be decrypted."""
    row = own_endpoint(public_id, visitor)
    change_endpoint(row, client_tls=None, actor=visitor.actor)
    return to_endpoint(row, "certificates")


def _form_page(
    request: HttpRequest, visitor: Visitor, row: Endpoint, form: ClientTLSForm, status: int = 200
) -> HttpResponse:
    certificates = shown_certificates(row, database_now())
    context = {
        "section": ENDPOINTS,
        "endpoint": row,
        "form": form,
        "certificates": certificates,
        "has_authorities": any(not one.is_client for one in certificates or ()),
    }
    return render_page(request, visitor, "endpoint_certificates", context, status=status)


paths = [
    path("endpoints/<str:public_id>/certificates", endpoint_certificates, name="endpoint_certificates"),
    path("endpoints/<str:public_id>/certificates/remove", remove_certificates, name="endpoint_certificates_remove"),
]
