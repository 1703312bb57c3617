"""The customers' page about who did what."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

import webhooks_app
from tests.factories import DeliveryFactory, EndpointFactory, TenantFactory
from tests.visitors import visiting
from webhooks_app.dashboard import keyset
from webhooks_app.dashboard.audit_labels import DETAILS, VERBS
from webhooks_app.deliveries.resend import resend
from webhooks_app.endpoints.secrets import rotate_secret
from webhooks_app.endpoints.service import change_endpoint, create_endpoint
from webhooks_app.endpoints.status import delete_endpoint, disable_endpoint, pause_endpoint, resume_endpoint
from webhooks_app.maintenance.prune import MONTHS_KEPT
from webhooks_app.models import AuditEntry, Endpoint, Tenant
from webhooks_app.tenants.api_keys import create_api_key
from webhooks_app.tenants.audit import SYSTEM, record_audit_entry

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("visitors")]

PAGE = "/webhooks/audit-log"
AUDIT_FUNCTIONS = ("record_audit_entry", "record_audit_entries", "record_refusal")


def audit_calls() -> Iterator[ast.Call]:
    """Every call in the app that writes an entry of the audit log."""
    for file in Path(webhooks_app.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in AUDIT_FUNCTIONS:
                yield node


@pytest.fixture
def tenant() -> Tenant:
    return TenantFactory()


@pytest.fixture
def endpoint(tenant: Tenant) -> Endpoint:
    return EndpointFactory(tenant=tenant)


def lines(tenant: Tenant, query: str = "") -> list[Any]:
    answer = visiting(tenant).get(f"{PAGE}{query}")
    assert answer.status_code == 200
    return list(answer.context["lines"])


class TestTheWords:
    def test_there_are_some_for_every_verb_that_an_action_writes(self) -> None:
        written = {call.args[2].value for call in audit_calls() if isinstance(call.args[2], ast.Constant)}
        assert written == set(VERBS)

    def test_and_for_every_detail(self) -> None:
        named = {keyword.arg for call in audit_calls() for keyword in call.keywords} - {"using", None}
        # Some actions collect their details in a dict first.
        collected = {"previous_expires_at", "brought", "fields", "new_secret", "events", "server", "previous_server"}
        assert named | collected == set(DETAILS)

    @pytest.mark.parametrize(
        ("actor", "words"),
        [
            ("user:anna", "anna"),
            ("user:an:na", "an:na"),
            ("staff:bert", "our support"),
            ("portal:0197", "somebody with a portal link"),
            (SYSTEM, "the app itself"),
            ("command", "an operator"),
            ("key:key_gone", "an API key"),
            ("robot:7", "robot:7"),
        ],
    )
    def test_name_whoever_acted(self, tenant: Tenant, actor: str, words: str) -> None:
        record_audit_entry(tenant.pk, actor, "deliveries.retried", "", count=3)
        (line,) = lines(tenant)
        assert (line.actor, line.details) == (words, [("How many", "3")])

    def test_name_the_api_key(self, tenant: Tenant, endpoint: Endpoint) -> None:
        key, _ = create_api_key(tenant, name="CI")
        pause_endpoint(endpoint, actor=f"key:{key.public_id}")
        paused, made = lines(tenant)
        assert paused.actor == "API key “CI”"
        assert (made.target, made.address) == ("CI", "/webhooks/keys")

    def test_of_a_verb_that_is_not_known_are_its_own(self, tenant: Tenant) -> None:
        record_audit_entry(tenant.pk, SYSTEM, "thing.done", "thing_1", how="<b>well</b>")
        page = visiting(tenant).get(PAGE).content.decode()
        assert "thing.done" in page
        assert "&lt;b&gt;well" in page


class TestTheTargets:
    def test_are_linked(self, tenant: Tenant, endpoint: Endpoint) -> None:
        pause_endpoint(endpoint, reason="holidays")
        (line,) = lines(tenant)
        assert (line.target, line.address) == (endpoint.url, f"/webhooks/endpoints/{endpoint.public_id}")
        assert line.details == [("Reason", "holidays")]

    @pytest.mark.parametrize(("prefix", "place"), [("evt", "events"), ("dlv", "deliveries")])
    def test_without_a_name_are_called_by_their_id(self, tenant: Tenant, prefix: str, place: str) -> None:
        target = f"{prefix}_{'0' * 32}"
        record_audit_entry(tenant.pk, SYSTEM, "event.replayed", target)
        (line,) = lines(tenant)
        assert (line.target, line.address) == (target, f"/webhooks/{place}/{target}")

    def test_that_were_deleted_are_named_and_lead_nowhere(self, tenant: Tenant, endpoint: Endpoint) -> None:
        delete_endpoint(endpoint)
        (line,) = lines(tenant)
        assert (line.target, line.address) == (endpoint.url, "")

    def test_of_others_are_never_named(self, tenant: Tenant, endpoint: Endpoint) -> None:
        other = TenantFactory()
        record_audit_entry(other.pk, SYSTEM, "endpoint.paused", endpoint.public_id)
        (line,) = lines(other)
        assert (line.target, line.address) == (endpoint.public_id, "")

    def test_that_are_portal_links_tell_nothing(self, tenant: Tenant) -> None:
        record_audit_entry(tenant.pk, SYSTEM, "portal_link.used", "0" * 32)
        assert lines(tenant)[0].target == ""


class TestFilters:
    def test_by_endpoint(self, tenant: Tenant, endpoint: Endpoint) -> None:
        pause_endpoint(EndpointFactory(tenant=tenant))
        disable_endpoint(endpoint)
        (line,) = lines(tenant, f"?target={endpoint.public_id}")
        assert line.verb == "disabled an endpoint"

    def test_by_a_deleted_endpoint_or_anything_else_with_an_id(self, tenant: Tenant, endpoint: Endpoint) -> None:
        delete_endpoint(endpoint)
        assert len(lines(tenant, f"?target={endpoint.public_id}")) == 1
        assert lines(tenant, f"?target=dlv_{'1' * 32}") == []

    @pytest.mark.parametrize(
        ("kind", "actors"),
        [
            ("user", ["anna"]),
            ("staff", ["our support"]),
            ("key", ["an API key"]),
            ("portal", ["somebody with a portal link"]),
        ],
    )
    def test_by_who_acted(self, tenant: Tenant, endpoint: Endpoint, kind: str, actors: list[str]) -> None:
        for actor in ("user:anna", "staff:bert", "key:key_1", "portal:1", SYSTEM, "command"):
            rotate_secret(endpoint, actor=actor)
        assert [line.actor for line in lines(tenant, f"?by={kind}")] == actors
        assert [line.actor for line in lines(tenant, "?by=system")] == ["an operator", "the app itself"]

    def test_look_back_by_stretches_of_bounded_length(
        self, tenant: Tenant, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reach = 4
        monkeypatch.setattr(keyset, "REACH", reach)
        pause_endpoint(endpoint, actor="user:anna")
        for _ in range(reach):
            resume_endpoint(endpoint)
            pause_endpoint(endpoint)
        client = visiting(tenant)
        address, pages = f"{PAGE}?by=user&target={endpoint.public_id}", 0
        shown = client.get(address)
        while not shown.context["lines"]:
            assert "Nothing in this stretch" in shown.content.decode()
            shown, pages = client.get(f"{address}&before={shown.context['slice'].older}"), pages + 1
        assert [line.actor for line in shown.context["lines"]] == ["anna"]
        assert pages == 2

    @pytest.mark.parametrize(
        "query", ["?target=nonsense", "?target=wh_%00", "?target=wh_1", "?by=nobody", "?before=x", "?before=%00"]
    )
    def test_that_are_none_are_not_found(self, tenant: Tenant, query: str) -> None:
        assert visiting(tenant).get(PAGE + query).status_code == 404


class TestThePage:
    def test_shows_one_tenants_only_newest_first(self, tenant: Tenant, endpoint: Endpoint) -> None:
        pause_endpoint(endpoint, actor="user:anna")
        resume_endpoint(endpoint, actor="user:bert")
        pause_endpoint(EndpointFactory(), actor="user:other")
        assert [line.actor for line in lines(tenant)] == ["bert", "anna"]

    def test_says_from_which_server_to_which_an_endpoint_was_moved(self, tenant: Tenant) -> None:
        endpoint, _ = create_endpoint(tenant, url="https://old.example/hooks/T0K3N?key=1", events=["*"])
        change_endpoint(endpoint, url="https://old.example/other")
        change_endpoint(endpoint, url="https://new.example:8443/hooks/T0K3N")
        moved, changed, made = (dict(line.details) for line in lines(tenant))
        assert moved["Its server was"] == "https://old.example"
        assert moved["Its server"] == "https://new.example:8443"
        assert "Its server" not in changed
        assert made["Its server"] == "https://old.example"
        assert "T0K3N" not in json.dumps(list(AuditEntry.objects.values_list("detail", flat=True)))

    def test_says_in_words_what_a_delivery_was(self, tenant: Tenant, endpoint: Endpoint) -> None:
        resend(DeliveryFactory(endpoint=endpoint, exhausted=True))
        assert dict(lines(tenant)[0].details) == {"It was": "failed"}

    def test_says_for_how_long_it_is_kept(self, tenant: Tenant) -> None:
        assert f"It is kept for {MONTHS_KEPT} months" in visiting(tenant).get(PAGE).content.decode()

    def test_says_when_there_is_nothing(self, tenant: Tenant) -> None:
        assert "Nothing was done yet" in visiting(tenant).get(PAGE).content.decode()

    def test_goes_on_to_what_is_older(self, tenant: Tenant) -> None:
        for number in range(keyset.SIZE + 1):
            record_audit_entry(tenant.pk, f"user:u{number}", "deliveries.retried", "")
        client = visiting(tenant)
        first = client.get(f"{PAGE}?by=user")
        address = f"{PAGE}?by=user&before={first.context['slice'].older}"
        assert address.replace("&", "&amp;") in first.content.decode()
        assert [line.actor for line in client.get(address).context["lines"]] == ["u0"]

    def test_asks_the_database_as_often_for_twenty_entries_as_for_two(self, tenant: Tenant) -> None:
        client = visiting(tenant)
        counts = set()
        for number in (2, 20):
            for _ in range(number):
                key, _text = create_api_key(tenant)
                pause_endpoint(EndpointFactory(tenant=tenant), actor=f"key:{key.public_id}")
            with CaptureQueriesContext(connection) as queries:
                client.get(PAGE)
            counts.add(len(queries))
        assert len(counts) == 1
