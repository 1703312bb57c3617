"""The customers' pages. Mount them where you like: `path("webhooks/", include("webhooks_app.urls"))`."""

from webhooks_app.dashboard.pages import (
    attempt,
    audit_log,
    bulk_retry,
    deliveries,
    delivery,
    endpoint_changes,
    endpoint_secrets,
    endpoint_test_and_recover,
    endpoints,
    event,
    event_types,
    exports,
    keys,
    playground,
    portal,
    search,
    verify_signatures,
)

app_name = "webhooks_app"

urlpatterns = [
    *endpoint_changes.paths,
    *endpoints.paths,
    *endpoint_secrets.paths,
    *endpoint_test_and_recover.paths,
    *deliveries.paths,
    *bulk_retry.paths,  # before one delivery's: "retry" is no id
    *exports.paths,
    *delivery.paths,
    *attempt.paths,
    *event.paths,
    *search.paths,
    *event_types.paths,
    *playground.paths,
    *verify_signatures.paths,
    *keys.paths,
    *audit_log.paths,
    *portal.paths,
]
