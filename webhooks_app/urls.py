"""The customers' pages. Mount them where you like: `path("webhooks/", include("webhooks_app.urls"))`."""

from webhooks_app.dashboard.pages import (
    activity,
    attempt,
    bulk_retry,
    deliveries,
    delivery,
    endpoint_changes,
    endpoint_secrets,
    endpoint_trials,
    endpoints,
    event,
    event_types,
    exports,
    keys,
    playground,
    portal,
    search,
    verifying,
)

app_name = "webhooks_app"

urlpatterns = [
    *endpoint_changes.paths,
    *endpoints.paths,
    *endpoint_secrets.paths,
    *endpoint_trials.paths,
    *deliveries.paths,
    *bulk_retry.paths,  # before one delivery's: "retry" is no id
    *exports.paths,
    *delivery.paths,
    *attempt.paths,
    *event.paths,
    *search.paths,
    *event_types.paths,
    *playground.paths,
    *verifying.paths,
    *keys.paths,
    *activity.paths,
    *portal.paths,
]
