"""`/healthz`, `/readyz` and `/metrics`. The first two need no login, so they say "ok" or which check fails, and no more."""

from __future__ import annotations

import importlib.util

from django.conf import settings as django_settings
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from webhooks_app.conf import settings
from webhooks_app.monitoring.probes import Failed, health, readiness


@never_cache
@require_safe
@transaction.non_atomic_requests
def healthz(request: HttpRequest) -> HttpResponse:
    """Check that this process and the database respond."""
    return _answer(request, health.failed())


@never_cache
@require_safe
@transaction.non_atomic_requests
def readyz(request: HttpRequest) -> HttpResponse:
    """The tables are migrated, and where work waits, an engine is running."""
    return _answer(request, readiness.failed())


@never_cache
@require_safe
@transaction.non_atomic_requests
def metrics(request: HttpRequest) -> HttpResponse:
    """Return the metrics in the Prometheus format. Requires METRICS_TOKEN, unless DEBUG is on."""
    chosen = settings().MONITORING
    if "prometheus" not in chosen.METRICS or importlib.util.find_spec("prometheus_client") is None:
        raise Http404
    from webhooks_app.telemetry import exposition, server  # only if the extra is installed

    if chosen.METRICS_TOKEN:
        if not server.token_matches(request.headers.get("Authorization", ""), chosen.METRICS_TOKEN):
            refused = HttpResponse(
                "A bearer token is required.\n", status=401, content_type="text/plain; charset=utf-8"
            )
            refused["WWW-Authenticate"] = "Bearer"
            return refused
    elif not django_settings.DEBUG:
        raise Http404
    return HttpResponse(exposition.render(), content_type=exposition.CONTENT_TYPE)


def _prefers_json(request: HttpRequest) -> bool:
    try:
        return request.get_preferred_type(["text/plain", "application/json"]) == "application/json"
    except ValueError:  # an Accept header that Django cannot read
        return False


def _answer(request: HttpRequest, failed: Failed) -> HttpResponse:
    state, code = ("failing", 503) if failed else ("ok", 200)
    if _prefers_json(request):
        return JsonResponse({"status": state, "failed": failed}, status=code)
    body = f"{state}: {', '.join(failed)}\n" if failed else f"{state}\n"
    return HttpResponse(body, status=code, content_type="text/plain; charset=utf-8")
