"""The API's description: it is in the repository as it is served, and the API keeps to it whatever it is sent."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from django.core.management import call_command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.api import Program
from tests.factories import AttemptFactory, DeliveryFactory, EndpointFactory

FILE = Path(__file__).parents[2] / "docs" / "reference" / "openapi.yaml"
#: Words that the project's texts avoid; each has a plainer one.
_STRANGE = re.compile(r"\b(given up|no such|of yours|of ours|is told|made when|answers?)\b", re.IGNORECASE)
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


def test_the_file_is_what_the_code_says(tmp_path: Path) -> None:
    fresh = tmp_path / "openapi.yaml"
    call_command("spectacular", "--urlconf", "project.api_urls", "--validate", "--fail-on-warn", "--file", str(fresh))
    assert fresh.read_text() == FILE.read_text(), "run `make openapi`"


def test_every_operation_says_how_it_may_fail() -> None:
    paths = schemathesis.openapi.from_path(FILE).raw_schema["paths"]
    operations = [operation for methods in paths.values() for operation in methods.values()]
    assert len(operations) >= 25
    for operation in operations:
        assert {"401", "403", "429"} <= set(operation["responses"])
        assert "Scope:" in operation["description"]


def test_everything_has_a_description() -> None:
    document = schemathesis.openapi.from_path(FILE).raw_schema
    texts: dict[str, str] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            name = f"{method} {path}"
            texts[name] = operation["description"].partition("Scope:")[0]
            for parameter in operation.get("parameters", ()):
                texts[f"{name}: {parameter['name']}"] = parameter.get("description", "")
            for status, response in operation["responses"].items():
                texts[f"{name}: {status}"] = response["description"]
    schemas = {name: schema for name, schema in document["components"]["schemas"].items() if "properties" in schema}
    for name, schema in schemas.items():
        texts[name] = schema.get("description", "")
        for field, value in schema["properties"].items():
            texts[f"{name}.{field}"] = value.get("description", "")
    assert len(schemas) > 20
    assert {name: text for name, text in texts.items() if len(text.split()) < 3} == {}
    assert {name: text for name, text in texts.items() if _STRANGE.search(text)} == {}


OPERATIONS = {each.ok().label: each.ok() for each in schemathesis.openapi.from_path(FILE).get_all_operations()}


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("event_types")
@pytest.mark.parametrize("label", OPERATIONS)
def test_whatever_is_sent_gets_an_answer_that_fits(label: str, live_server: Any, configure: Any) -> None:
    """Requests as described, and ones that are not: no 5xx, and every answer is one of those described. Half of those with
    an id name an object that is there."""
    configure(API={"RATE_LIMIT": ""})
    operation, program = OPERATIONS[label], Program()
    delivery = AttemptFactory(delivery=DeliveryFactory(endpoint=EndpointFactory(tenant=program.tenant))).delivery
    there = {"webhooks": delivery.endpoint, "events": delivery.event, "deliveries": delivery}
    cases = st.one_of(operation.as_strategy(generation_mode=mode) for mode in _modes(operation))

    # The same requests each time, so that a change is blamed for what it did; FUZZ=1000 tries others, and more of them.
    more = int(os.environ.get("FUZZ", "0"))

    @settings(
        max_examples=more or 30,
        derandomize=not more,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(case=cases, names_one=st.booleans())
    def send(case: Any, names_one: bool) -> None:
        if names_one and case.path_parameters:
            case.path_parameters["id"] = there[label.split("/")[3]].public_id
        response = case.call(base_url=live_server.url, headers={"X-API-Key": program.text})
        case.validate_response(response, checks=CHECKS)

    send()


def _modes(operation: Any) -> list[GenerationMode]:
    """What takes nothing cannot be asked wrongly."""
    takes = bool(list(operation.iter_parameters())) or bool(operation.body)
    return [GenerationMode.POSITIVE, GenerationMode.NEGATIVE] if takes else [GenerationMode.POSITIVE]
