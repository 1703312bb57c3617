"""One attempt: the request as it was sent, and the whole response.

A delivery has many attempts and a body may be large, so the delivery's page only links to each. When one is expanded there,
htmx loads the request.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import path

from webhooks_app.dashboard.access import Visitor
from webhooks_app.dashboard.page_view import dashboard_view, get_own_or_404, render_page
from webhooks_app.dashboard.sections import DELIVERIES
from webhooks_app.deliveries.pretty_body import pretty_body
from webhooks_app.deliveries.sent_requests import curl_of, sent_request
from webhooks_app.exceptions import NotFound
from webhooks_app.models import Attempt, Delivery
from webhooks_app.models.ids import parse_public_id


@dashboard_view()
def delivery_attempt(request: HttpRequest, visitor: Visitor, public_id: str, key: str) -> HttpResponse:
    rows = Delivery.objects.select_related("event").defer("event__data")
    row = get_own_or_404(rows, "dlv", public_id, visitor)
    attempt_id = parse_public_id(key, "att")
    attempt = Attempt.objects.filter(delivery_id=row.pk, pk=attempt_id).first() if attempt_id else None
    if attempt is None:
        raise NotFound()
    sent = sent_request(row, attempt, with_signature=visitor.manages)
    context = {
        "section": DELIVERIES,
        "delivery": row,
        "attempt": attempt,
        "sent": sent,
        "body": pretty_body(sent.body) if sent else None,
        "curl": curl_of(sent) if sent and not sent.to_playground else "",
        "answered": attempt.status is not None,
        "answer": pretty_body(attempt.shown_body).text,
    }
    return render_page(request, visitor, "attempt_request" if request.headers.get("HX-Request") else "attempt", context)


paths = [
    path("deliveries/<str:public_id>/attempts/<str:key>", delivery_attempt, name="delivery_attempt"),
]
