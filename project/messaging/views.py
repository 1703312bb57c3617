"""The sample app's page: send messages and show their status."""

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from project.messaging.forms import MessageForm
from project.messaging.models import Message
from project.messaging.people import organisation_of
from project.messaging.sending import CarrierDown, finish_message, send_message


@require_GET
def home(request: HttpRequest) -> HttpResponse:
    return _page(request, MessageForm())


@login_required
@require_POST
def send(request: HttpRequest) -> HttpResponse:
    """Send the messages of the form. Each message and its events are one transaction."""
    organisation = organisation_of(request)
    form = MessageForm(request.POST)
    if organisation is None or not form.is_valid():
        return _page(request, form)
    outcome = form.cleaned_data["outcome"]
    for _ in range(form.cleaned_data["copies"]):
        try:
            message = send_message(
                organisation, form.cleaned_data["recipient"], form.cleaned_data["text"], crash=outcome == "crash"
            )
        except CarrierDown:
            messages.warning(request, "Rolled back, as you asked: no message, no event, no webhook.")
            break
        finish_message(message, error="number_not_in_service" if outcome == "failed" else "")
    else:
        messages.success(request, f"{form.cleaned_data['copies']} sent, with two events each.")
    return redirect("home")


def _page(request: HttpRequest, form: MessageForm) -> HttpResponse:
    organisation = organisation_of(request)
    context = {
        "form": form,
        "organisation": organisation,
        "latest": Message.objects.filter(organisation=organisation)[:20] if organisation else (),
        "receiver_url": f"http://127.0.0.1:{settings.DEMO_RECEIVER_PORT}/",
    }
    return render(request, "home.html", context, status=400 if form.is_bound and form.errors else 200)
