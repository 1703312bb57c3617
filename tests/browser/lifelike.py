"""Invented data that looks like a customer's, for the screenshots. Runs inside `manage.py shell` of the live project.

The deliveries are real; what a picture cannot wait for – hours that went by, hosts with names – is written over them after.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from math import sin

from django.contrib.auth import get_user_model
from django.db.models import F
from django.utils import timezone

from project.messaging.models import Organisation
from tests.browser.company import ENDPOINTS, FAILING, HOST, NAME, PASSWORD, PAUSED, PERSON, SHAKY, STEADY
from webhooks_app import emit
from webhooks_app.endpoints.service import create_endpoint
from webhooks_app.endpoints.status import pause_endpoint
from webhooks_app.models import Attempt, Delivery, Endpoint, EndpointQueue, Event, HourlyStat

_TEXTS = (
    "Your parcel is on its way.",
    "Your parcel arrives today between 2 and 4 p.m.",
    "We have left your parcel with your neighbour.",
    "Your parcel is ready for you at Market Square 3.",
)
_HOURS = 48


def begin(receiver: str) -> None:
    """The company, somebody who manages it, and endpoints at the receiver's address."""
    company, _ = Organisation.objects.get_or_create(name=NAME)
    company.members.add(get_user_model().objects.create_user(PERSON, password=PASSWORD))
    for path, (description, events) in ENDPOINTS.items():
        endpoint, _secret = create_endpoint(
            company, url=receiver + path, events=events, description=description, actor=f"user:{PERSON}"
        )
        if path == PAUSED:
            pause_endpoint(endpoint, actor=f"user:{PERSON}")


def tell(number: int, status: str) -> None:
    """One event of the company."""
    data = {
        "message_id": 48_200 + number,
        "to": f"+47915{number:05d}",
        "text": _TEXTS[number % len(_TEXTS)],
        "status": status,
    }
    more = {"error": "number_not_in_service"} if status == "failed" else {}
    company = Organisation.objects.get(name=NAME)
    emit(f"message.{status}", {**data, **more}, tenant=company, subject=f"parcel-{7100 + number}", channels=["oslo"])


def settle() -> str:
    """Give the endpoints names, their deliveries a past, and the charts two days. Returns endpoints' ids by path, as JSON."""
    endpoints = {}
    for endpoint in Endpoint.objects.filter(description__in=[about for about, _ in ENDPOINTS.values()]):
        path = "/" + endpoint.url.split("/", 3)[3]
        endpoints[path] = endpoint
        Endpoint.objects.filter(pk=endpoint.pk).update(url=HOST + path)
        _write_hours(endpoint, path)
    for place, event in enumerate(Event.objects.filter(subject__startswith="parcel-").order_by("-pk")):
        _set_back(event, timedelta(minutes=4 + 23 * place + place * place))
    since = timezone.now() - timedelta(hours=3, minutes=12)
    EndpointQueue.objects.filter(endpoint_id=endpoints[FAILING].pk).update(
        failing_since=since, consecutive_failures=7, last_success_at=since - timedelta(minutes=1)
    )
    return json.dumps({path: endpoint.public_id for path, endpoint in endpoints.items()})


def _set_back(event: Event, by: timedelta) -> None:
    Event.objects.filter(pk=event.pk).update(created_at=F("created_at") - by, occurred_at=F("occurred_at") - by)
    deliveries = Delivery.objects.filter(event_id=event.pk)
    Attempt.objects.filter(delivery_id__in=deliveries.values("pk")).update(started_at=F("started_at") - by)
    deliveries.filter(completed_at=None).update(created_at=F("created_at") - by)
    deliveries.exclude(completed_at=None).update(created_at=F("created_at") - by, completed_at=F("completed_at") - by)


def _write_hours(endpoint: Endpoint, path: str) -> None:
    this_hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    if path == PAUSED:
        return
    HourlyStat.objects.filter(endpoint=endpoint).delete()
    HourlyStat.objects.bulk_create(
        _hour(endpoint, path, this_hour - timedelta(hours=back), back) for back in range(_HOURS)
    )


def _hour(endpoint: Endpoint, path: str, hour: datetime, back: int) -> HourlyStat:
    good = round((90 + 60 * sin(hour.hour / 24 * 6.28 - 2)) * (1 if path == STEADY else 0.3))
    bad = {SHAKY: 6 if back in (5, 6, 7, 20) else 0, FAILING: good if back < 4 else 0}.get(path, int(back == 9))
    return HourlyStat(
        endpoint=endpoint, hour=hour, succeeded=good - bad, server_error=bad, timeout=bad // 3,
        latency_sum_ms=good * 85, latency_max_ms=640, latency_2=good // 2, latency_3=good // 3, latency_4=good // 14,
        latency_5=good // 16 + (3 if back % 5 == 2 else 0),
    )  # fmt: skip
