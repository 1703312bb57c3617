"""Creating and changing endpoints."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from tests.factories import SECRET, DeliveryFactory, EndpointFactory, EventFactory, EventTypeFactory, TenantFactory
from webhooks_app.endpoints.secrets import rotate_secret
from webhooks_app.endpoints.service import change_endpoint, create_endpoint
from webhooks_app.endpoints.status import delete_endpoint
from webhooks_app.exceptions import (
    ConflictingState,
    InvalidEndpoint,
    InvalidSecret,
    NotAvailableOnPlan,
    SealingError,
    TooManyEndpoints,
    URLNotAllowed,
)
from webhooks_app.models import NOTHING_DUE, AuditEntry, Delivery, Endpoint, EndpointQueue, Secret, Tenant

pytestmark = pytest.mark.django_db

URL = "https://receiver.example.com/hook"


def patterns(endpoint: Endpoint) -> list[str]:
    return sorted(endpoint.subscriptions.values_list("pattern", flat=True))


def test_a_new_endpoint_has_queue_subscriptions_secret_and_audit_entry():
    endpoint, text = create_endpoint("acme", url=URL, events=["message.sent", "message.*"], actor="user:anna")

    assert patterns(endpoint) == ["message.*", "message.sent"]
    assert endpoint.queue.due_at == NOTHING_DUE
    assert endpoint.queue.not_before <= timezone.now() + timedelta(seconds=1)
    assert text.startswith("whsec_")
    assert endpoint.secrets.get().reveal() == text
    assert text not in endpoint.secrets.get().value
    entry = AuditEntry.objects.get(verb="endpoint.created")
    assert (entry.actor, entry.target, entry.tenant_id) == ("user:anna", endpoint.public_id, endpoint.tenant_id)
    assert text not in str(entry.detail)


def test_the_tenant_of_a_host_object_is_made():
    endpoint, _ = create_endpoint("acme", url=URL, events=["*"])
    assert endpoint.tenant == Tenant.objects.get(uid="acme")


def test_a_secret_that_the_customer_brings_is_kept():
    endpoint, text = create_endpoint("acme", url=URL, events=["*"], secret=SECRET)
    assert text == SECRET
    assert endpoint.secrets.get().reveal() == SECRET


def test_a_short_secret_is_refused_and_nothing_is_made():
    with pytest.raises(InvalidSecret):
        create_endpoint("acme", url=URL, events=["*"], secret="whsec_c2hvcnQ=")
    assert not Endpoint.objects.exists()


def test_the_url_is_stored_normalised():
    endpoint, _ = create_endpoint("acme", url="HTTPS://Receiver.Example.com:443/hook", events=["*"])
    assert endpoint.url == URL


@pytest.mark.parametrize("url", ["https://10.0.0.1/", "ftp://example.com/", "https://user:pass@example.com/", "", None])
def test_a_url_that_must_not_be_reached_is_refused(url):
    with pytest.raises(URLNotAllowed):
        create_endpoint("acme", url=url, events=["*"])


@pytest.mark.parametrize(
    "events",
    [[], "message.sent", ["no.such.type"], ["mess age"], ["message.**"], [f"message.{n}.*" for n in range(51)], [None]],
)
def test_events_must_be_known_or_patterns_and_1_to_50(events):
    with pytest.raises(InvalidEndpoint) as caught:
        create_endpoint("acme", url=URL, events=events)
    assert caught.value.field == "events"


def test_an_event_named_twice_is_subscribed_once():
    endpoint, _ = create_endpoint("acme", url=URL, events=["message.sent", "message.sent"])
    assert patterns(endpoint) == ["message.sent"]


def test_a_type_that_staff_added_is_known_until_it_is_retired():
    kind = EventTypeFactory(name="order.paid")
    create_endpoint("acme", url=URL, events=["order.paid"])
    kind.retired = True
    kind.save()
    with pytest.raises(InvalidEndpoint):
        create_endpoint("acme", url=URL, events=["order.paid"])


def test_a_tenant_without_webhooks_on_its_plan_gets_none():
    with pytest.raises(NotAvailableOnPlan):
        create_endpoint(TenantFactory(webhooks_enabled=False), url=URL, events=["*"])


def test_the_limit_counts_neither_deleted_nor_hidden_endpoints():
    tenant = TenantFactory(max_endpoints=1)
    EndpointFactory(tenant=tenant, kind="callback")
    first, _ = create_endpoint(tenant, url=URL, events=["*"])
    with pytest.raises(TooManyEndpoints):
        create_endpoint(tenant, url=URL, events=["*"])
    delete_endpoint(first)
    create_endpoint(tenant, url=URL, events=["*"])


@pytest.mark.parametrize(
    "name",
    [
        "Host", "content-length", "Transfer-Encoding", "Connection", "Expect", "Proxy-Authorization", "Cookie",
        "X-Forwarded-For", "webhook-id", "Webhook-Extra", "Content-Type", "X_Underscore", "X Y", "X\r\nY", "", "Ünï",
    ],
)  # fmt: skip
def test_header_names_that_are_ours_or_no_names_are_refused(name):
    with pytest.raises(InvalidEndpoint) as caught:
        create_endpoint("acme", url=URL, events=["*"], headers={name: "value"})
    assert caught.value.field == "headers"


@pytest.mark.parametrize("value", ["", "a\r\nX: y", "a\x00b", " a", "a ", "é", "x" * 5000, 5])
def test_header_values_must_be_visible_ascii(value):
    with pytest.raises(InvalidEndpoint):
        create_endpoint("acme", url=URL, events=["*"], headers={"X-Token": value})


def test_the_wire_formats_own_header_names_are_refused():
    create_endpoint("acme", url=URL, events=["*"], headers={"X-Muchaw-Signature": "x"})
    with pytest.raises(InvalidEndpoint):
        create_endpoint("acme", url=URL, events=["*"], wire_format="muchaw", headers={"x-muchaw-signature": "x"})


def test_the_same_header_in_two_spellings_is_refused():
    with pytest.raises(InvalidEndpoint):
        create_endpoint("acme", url=URL, events=["*"], headers={"X-Token": "a", "x-token": "b"})


def test_custom_headers_have_a_length_in_all():
    values = {"X-A": "a" * 4000, "X-B": "b" * 4000}
    create_endpoint("acme", url=URL, events=["*"], headers={**values, "X-C": "c" * 183})
    with pytest.raises(InvalidEndpoint, match="All headers together have 8193 characters; at most 8192 are allowed"):
        create_endpoint("acme", url=URL, events=["*"], headers={**values, "X-C": "c" * 184})


def test_custom_headers_are_sealed():
    endpoint, _ = create_endpoint("acme", url=URL, events=["*"], headers={"Authorization": "Bearer very secret"})
    assert "very" not in Endpoint.objects.get().headers
    assert endpoint.custom_headers() == {"Authorization": "Bearer very secret"}


def nested(levels: int) -> dict[str, object]:
    value: list[object] = []
    for _ in range(levels - 2):
        value = [value]
    return {"a": value}


def test_metadata_may_have_twenty_levels():
    endpoint, _ = create_endpoint("acme", url=URL, events=["*"], metadata=nested(20))
    assert endpoint.metadata == nested(20)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("wire_format", "no-such"),
        ("channels", "number:1"),
        ("channels", [""]),
        ("channels", [str(n) for n in range(51)]),
        ("filters", {"amount": 1}),
        ("rate_limit", 0),
        ("rate_limit", True),
        ("max_in_flight", 9),
        ("fifo", "yes"),
        ("metadata", {"a": float("nan")}),
        ("metadata", {"a": "x" * 9000}),
        ("description", "x" * 256),
        # What PostgreSQL cannot store is refused everywhere.
        ("description", "\ud800"),
        ("metadata", {"a": "\ud800"}),
        ("metadata", nested(21)),
        ("metadata", nested(950)),
        ("metadata", {"a": "\x00"}),
        ("filters", {"data.a": "\ud800"}),
        ("filters", {"data.a": {"in": ["\x00"]}}),
    ],
)
def test_a_faulty_field_is_named(field, value):
    with pytest.raises(InvalidEndpoint) as caught:
        create_endpoint("acme", url=URL, events=["*"], **{field: value})
    assert caught.value.field == field


def test_a_change_of_the_path_keeps_secret_and_headers():
    endpoint, text = create_endpoint("acme", url=URL, events=["*"], headers={"X-Token": "t"})
    changed, new_text = change_endpoint(endpoint, url=URL + "/v2?x=1", actor="user:anna")

    assert new_text is None
    assert changed.url == URL + "/v2?x=1"
    assert changed.custom_headers() == {"X-Token": "t"}
    assert [secret.reveal() for secret in changed.secrets.live()] == [text]
    assert AuditEntry.objects.get(verb="endpoint.changed").detail == {"fields": ["url"], "new_secret": False}


@pytest.mark.parametrize(
    "url",
    ["http://receiver.example.com/hook", "https://other.example.com/hook", "https://receiver.example.com:8443/hook"],
)
def test_another_scheme_host_or_port_gets_a_new_secret_and_no_headers(url):
    endpoint, text = create_endpoint("acme", url=URL, events=["*"], headers={"X-Token": "t"})
    changed, new_text = change_endpoint(endpoint.pk, url=url)

    assert new_text not in (None, text)
    assert [secret.reveal() for secret in changed.secrets.live()] == [new_text]
    assert changed.custom_headers() == {}


def test_headers_given_with_the_new_host_are_kept():
    endpoint, _ = create_endpoint("acme", url=URL, events=["*"], headers={"X-Token": "old"})
    changed, _ = change_endpoint(endpoint, url="https://other.example.com/", headers={"X-Token": "new"}, secret=SECRET)
    assert changed.custom_headers() == {"X-Token": "new"}
    assert [secret.reveal() for secret in changed.secrets.live()] == [SECRET]


def test_older_secrets_that_still_overlap_end_with_a_new_host():
    endpoint, _ = create_endpoint("acme", url=URL, events=["*"])
    rotate_secret(endpoint)
    _, new_text = change_endpoint(endpoint, url="https://other.example.com/")
    assert [secret.reveal() for secret in endpoint.secrets.live()] == [new_text]


def test_a_secret_without_a_new_host_is_refused():
    endpoint, _ = create_endpoint("acme", url=URL, events=["*"])
    with pytest.raises(InvalidSecret):
        change_endpoint(endpoint, description="x", secret=SECRET)


def test_what_is_not_named_stays():
    endpoint, _ = create_endpoint("acme", url=URL, events=["*"], rate_limit=5, channels=["a"], metadata={"k": 1})
    changed, _ = change_endpoint(endpoint, rate_limit=None, description="new")
    assert (changed.rate_limit, changed.channels, changed.metadata, changed.description) == (
        None,
        ["a"],
        {"k": 1},
        "new",
    )


def test_events_and_filters_are_changed_row_by_row():
    endpoint, _ = create_endpoint("acme", url=URL, events=["message.sent", "message.failed"], filters={"data.a": 1})
    kept = endpoint.subscriptions.get(pattern="message.sent")
    change_endpoint(endpoint, events=["message.sent", "message.delivered"])
    assert patterns(endpoint) == ["message.delivered", "message.sent"]
    assert endpoint.subscriptions.get(pattern="message.sent").pk == kept.pk
    assert endpoint.filters == {"data.a": 1}
    change_endpoint(endpoint, filters={"data.b": 2})
    endpoint.refresh_from_db()
    assert endpoint.filters == {"data.b": 2}


def test_becoming_fifo_numbers_what_is_pending_by_event_and_wakes():
    endpoint = EndpointFactory(queue__sequence=3)
    events = [EventFactory(tenant=endpoint.tenant) for _ in range(3)]
    rows = [DeliveryFactory(endpoint=endpoint, event=event) for event in reversed(events)]
    done = DeliveryFactory(endpoint=endpoint, succeeded=True)

    change_endpoint(endpoint, fifo=True)
    assert [Delivery.objects.get(event=event).sequence for event in events] == [4, 5, 6]
    done.refresh_from_db()
    assert done.sequence == 0
    queue = EndpointQueue.objects.get(pk=endpoint.pk)
    assert (queue.sequence, queue.fifo, queue.due_at < NOTHING_DUE) == (6, True, True)

    change_endpoint(endpoint, fifo=False)
    assert set(Delivery.objects.filter(pk__in=[row.pk for row in rows]).values_list("sequence", flat=True)) == {0}
    assert EndpointQueue.objects.get(pk=endpoint.pk).fifo is False


def test_a_queue_with_very_many_pending_deliveries_does_not_change_its_order(monkeypatch):
    monkeypatch.setattr("webhooks_app.deliveries.bulk_updates.MAX_RENUMBERED", 1)
    endpoint = EndpointFactory()
    DeliveryFactory.create_batch(2, endpoint=endpoint)
    with pytest.raises(ConflictingState):
        change_endpoint(endpoint, fifo=True)
    assert EndpointQueue.objects.get(pk=endpoint.pk).fifo is False


def test_deleted_and_hidden_endpoints_cannot_be_changed():
    for endpoint in (delete_endpoint(EndpointFactory()), EndpointFactory(kind="callback")):
        with pytest.raises(ConflictingState):
            change_endpoint(endpoint, description="x")


def test_no_encryption_key_means_no_endpoint(settings):
    settings.WEBHOOKS = {**settings.WEBHOOKS, "ENCRYPTION_KEYS": []}
    with pytest.raises(SealingError):
        create_endpoint("acme", url=URL, events=["*"])
    assert not Endpoint.objects.exists()
    assert not Secret.objects.exists()
